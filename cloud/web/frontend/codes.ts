// The form of the product codes: a text with both codes pasted into either field fills in both, look-alikes are named,
// and what was typed is kept in this tab until it was taken, for a log-in may have ended meanwhile.
import { keep } from "./label_store";
import { findLabel } from "./label_text";
import { gettext } from "./words";

const IGNORED = /[\s\-\u2010-\u2015\u2212_.]+/g; // the same set as protocol/identity.py
const ALIKE: Readonly<Record<string, string>> = {
  O: gettext("the letter O"),
  "0": gettext("the digit 0"),
  I: gettext("the letter I"),
  "1": gettext("the digit 1"),
};

function plain(field: HTMLInputElement): string {
  return field.value.replace(IGNORED, "").toUpperCase();
}

function put(field: HTMLInputElement, value: string): void {
  field.value = value;
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

/** Fill in both fields, as if they had been typed. */
export function fill(productId: string, productKey: string): void {
  for (const [id, value] of [["product_id", productId], ["product_key", productKey]] as const) {
    const field = document.querySelector<HTMLInputElement>(`input#${id}`);
    if (field) put(field, value);
  }
}

// "7 is the letter O, 9 the digit 0": where a complete code has characters that are easily mistaken for another.
function alike(code: string): string {
  const found = [...code].flatMap((one, index) => (ALIKE[one] ? [`${index + 1} ${ALIKE[one]}`] : []));
  if (!found.length) return "";
  return gettext("Look-alikes, by place: {places}. Compare them with the label.", { places: found.join(", ") });
}

function startLookAlikes(field: HTMLInputElement): void {
  const note = document.getElementById(`${field.id}-alike`);
  if (!note) return;
  const update = (): void => {
    const code = plain(field);
    note.textContent = code.length === Number(field.dataset["length"]) ? alike(code) : "";
  };
  field.addEventListener("input", update);
  update();
}

export function startCodes(): void {
  for (const form of document.querySelectorAll<HTMLFormElement>("form[data-codes]")) {
    const [idField, keyField] = ["product_id", "product_key"].map((name) =>
      form.querySelector<HTMLInputElement>(`input[name=${name}]`),
    );
    if (!idField || !keyField) continue;
    for (const field of [idField, keyField]) {
      startLookAlikes(field);
      field.addEventListener("paste", (event) => {
        const codes = findLabel(event.clipboardData?.getData("text") ?? "");
        if (!codes) return;
        event.preventDefault();
        put(idField, codes.productId);
        put(keyField, codes.productKey);
        form.querySelector<HTMLButtonElement>("button[type=submit]")?.focus();
      });
    }
    form.addEventListener("submit", () => {
      const codes = { productId: plain(idField), productKey: plain(keyField) };
      if (codes.productId.length === 12 && codes.productKey.length === 14) keep(codes);
    });
  }
}
