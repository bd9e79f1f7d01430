// The link of a label's QR code: /r#<Product ID>.<Product Key>. What stands behind the # reaches no server by itself.
// It is taken out of the address and the history at once and kept in this tab until it is used, so that it outlives
// log-in and sign-up; the only way it leaves the browser is the form of the page. Also: the form itself, and files of
// many codes.
import { fill, startCodes } from "./codes";
import { forget, keep, kept } from "./label_store";

const CODES = /^([0-9a-z]{12})\.([0-9a-z]{14})$/i; // protocol/identity.py: qr_link

function take(): "none" | "taken" | "unreadable" {
  const secret = location.hash.slice(1);
  if (!secret) return "none";
  history.replaceState(null, "", location.pathname);
  const [, productId, productKey] = CODES.exec(secret) ?? [];
  if (!productId || !productKey) return "unreadable";
  keep({ productId: productId.toUpperCase(), productKey: productKey.toUpperCase() });
  return "taken";
}

function show(found: ReturnType<typeof take>): void {
  const label = found === "unreadable" ? null : kept();
  const state = label ? "kept" : found;
  for (const part of document.querySelectorAll<HTMLElement>("[data-label]")) {
    part.hidden = part.dataset["label"] !== state;
  }
  for (const place of document.querySelectorAll<HTMLElement>("[data-label-id]")) {
    place.textContent = label?.productId ?? "";
  }
  if (label) fill(label.productId, label.productKey);
}

startCodes();
if (document.querySelector("[data-label-used]")) forget();
if (document.querySelector("[data-label]")) {
  show(take());
  window.addEventListener("hashchange", () => show(take())); // another label scanned into the same tab
}
for (const way of document.querySelectorAll("[data-label-forget]")) way.addEventListener("click", forget);

// A chosen file's text goes into the field, so that the list is sent like any other form and no server writes it down.
for (const chooser of document.querySelectorAll<HTMLInputElement>("input[data-file-into]")) {
  const field = document.querySelector<HTMLTextAreaElement>(`textarea#${chooser.dataset["fileInto"] ?? ""}`);
  chooser.closest<HTMLElement>("[data-file]")?.removeAttribute("hidden");
  chooser.addEventListener("change", () => {
    void chooser.files?.[0]?.text().then((text) => {
      if (field) field.value = text;
    });
  });
}
