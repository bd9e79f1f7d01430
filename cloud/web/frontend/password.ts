// Password rules: while somebody types, say which ones are met. The server decides (cloud/core/account.py); this only
// saves a round trip. A rule about what this page does not know (the name, on the page of a forgotten password) is
// left unmarked.
import { gettext } from "./words";

const MIN_CHARS = 8;
const MIN_KINDS = 3;
const MIN_NAME = 2;
const MIN_PART = 3; // of the email address

interface Owner {
  names: string[];
  email: string;
}

function kinds(password: string): number {
  const found = new Set<string>();
  for (const char of password) {
    if (/[\p{Lu}\p{Lt}]/u.test(char)) found.add("upper");
    else if (/\p{L}/u.test(char)) found.add("lower");
    else found.add(/\p{Decimal_Number}/u.test(char) ? "digit" : "symbol");
  }
  return found.size;
}

const RULES: Record<string, (password: string, owner: Owner) => boolean | null> = {
  length: (password) => [...password].length >= MIN_CHARS,
  kinds: (password) => kinds(password) >= MIN_KINDS,
  name: (password, { names }) => {
    const known = names.filter((name) => name.length >= MIN_NAME);
    return known.length ? !known.some((name) => password.toLowerCase().includes(name)) : null;
  },
  email: (password, { email }) => {
    const parts = email.split(/[^\p{L}\p{N}]+/u).filter((part) => part.length >= MIN_PART);
    return parts.length ? !parts.some((part) => password.toLowerCase().includes(part)) : null;
  },
};

function startRules(list: HTMLElement): void {
  const field = document.querySelector<HTMLInputElement>("input#password");
  const said = document.querySelector<HTMLOutputElement>("output[data-password-said]");
  if (!field || !said) return;
  const typed = (id: string): string => document.querySelector<HTMLInputElement>(`input#${id}`)?.value ?? "";
  const show = (): void => {
    const password = field.value.normalize("NFC");
    const given = list.dataset["names"] || `${typed("first_name")}|${typed("last_name")}`;
    const owner = {
      names: given.split("|").map((name) => name.trim().toLowerCase()),
      email: (list.dataset["email"] || typed("email")).toLowerCase(),
    };
    let met = 0;
    let judged = 0;
    for (const item of list.querySelectorAll<HTMLElement>("[data-rule]")) {
      const holds = password ? (RULES[item.dataset["rule"] ?? ""]?.(password, owner) ?? null) : null;
      item.dataset["state"] = holds === null ? "" : holds ? "met" : "open";
      if (holds !== null) judged += 1;
      if (holds) met += 1;
    }
    said.textContent = judged ? gettext("{met} of {judged} rules are met", { met, judged }) : "";
    said.dataset["state"] = judged && met === judged ? "complete" : "open";
  };
  for (const id of ["password", "first_name", "last_name", "email"]) {
    document.querySelector<HTMLInputElement>(`input#${id}`)?.addEventListener("input", show);
  }
  show();
}

export function startPasswords(): void {
  for (const list of document.querySelectorAll<HTMLElement>("ul[data-password-rules]")) startRules(list);
}
