// The form on the page of an API operation: sends what it says, with the log-in's cookie or with the token typed in,
// and shows the answer. The token stays in its field; it is neither stored nor part of any address.
import { gettext } from "./words";

const MAX_SHOWN_CHARS = 200_000;
const TOLD_HEADERS = ["content-type", "content-disposition", "retry-after", "idempotency-replayed", "x-request-id"];

type Field = HTMLInputElement | HTMLSelectElement;

function byId<Kind extends HTMLElement>(id: string): Kind | null {
  return document.getElementById(id) as Kind | null;
}

function addressOf(form: HTMLFormElement, headers: Headers): string {
  let path = form.dataset["path"] ?? "";
  const query = new URLSearchParams();
  for (const field of form.querySelectorAll<Field>("[data-place]")) {
    if (field.dataset["place"] === "path") path = path.replace(`{${field.name}}`, encodeURIComponent(field.value));
    else if (field.value === "") continue;
    else if (field.dataset["place"] === "header") headers.set(field.name, field.value);
    else query.set(field.name, field.value);
  }
  return query.size ? `${path}?${query}` : path;
}

function readable(text: string, kind: string): string {
  if (text.length > MAX_SHOWN_CHARS) return `${text.slice(0, MAX_SHOWN_CHARS)}\n…`;
  if (!kind.includes("json")) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text; // an export that was cut, for one
  }
}

function show(status: string, headers: string, text: string): void {
  const told = byId("told");
  const parts = { "told-status": status, "told-headers": headers, "told-text": text };
  for (const [id, content] of Object.entries(parts)) {
    const part = byId(id);
    if (!part) continue;
    part.textContent = content;
    part.hidden = content === "";
  }
  if (told) told.hidden = false;
}

async function send(form: HTMLFormElement): Promise<void> {
  const method = form.dataset["method"] ?? "GET";
  const headers = new Headers({ Accept: "application/json" });
  const address = addressOf(form, headers);
  const token = byId<HTMLInputElement>("api-token")?.value.trim() ?? "";
  if (token) headers.set("Authorization", `Bearer ${token}`);
  else if (method !== "GET") headers.set("X-Form-Token", form.dataset["formToken"] ?? "");
  const json = byId<HTMLTextAreaElement>("body")?.value ?? null;
  if (json !== null) headers.set("Content-Type", "application/json");
  const body = json ?? byId<HTMLInputElement>("body-file")?.files?.[0] ?? null;
  const began = performance.now();
  const answer = await fetch(address, { method, headers, body, credentials: token ? "omit" : "same-origin" });
  const text = await answer.text();
  const took = Math.round(performance.now() - began);
  const told = TOLD_HEADERS.flatMap((name) => {
    const value = answer.headers.get(name);
    return value === null ? [] : [`${name}: ${value}`];
  });
  show(`${answer.status} ${answer.statusText} · ${took} ms`, told.join(" · "), readable(text, told[0] ?? ""));
}

const form = byId<HTMLFormElement>("try");
if (form) {
  for (const part of document.querySelectorAll<HTMLElement>("[data-scripted]")) part.hidden = false;
  for (const part of document.querySelectorAll<HTMLElement>("[data-unscripted]")) part.hidden = true;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button?.setAttribute("aria-busy", "true");
    send(form)
      .catch((error: unknown) => show(gettext("No answer"), "", String(error)))
      .finally(() => button?.removeAttribute("aria-busy"));
  });
}
