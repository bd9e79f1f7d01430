// Product codes in whatever a label's code holds. The same reading as cloud/core/label_text.py, which says why; both
// are held to the cases of tests/support/label_texts.py.
export interface Codes {
  readonly productId: string;
  readonly productKey: string;
}

const MAX_CHARS = 4296;
const SHOWN_CHARS = 80;
const HOST = /[A-Za-z][A-Za-z0-9+.\-]*:\/\/[^/?#\x00-\x20]*/g;

function unescaped(_: string, hex: string): string {
  const byte = Number.parseInt(hex, 16);
  return byte < 128 ? String.fromCharCode(byte) : " ";
}

function only(runs: readonly string[], length: number): string | null {
  let codes = [...new Set(runs.filter((run) => run.length === length).map((run) => run.toUpperCase()))];
  if (codes.length > 1) codes = codes.filter((code) => /[0-9]/.test(code));
  return codes.length === 1 ? (codes[0] ?? null) : null;
}

/** The codes, if the text holds exactly one of each. */
export function findLabel(text: string): Codes | null {
  if ([...text].length > MAX_CHARS) return null;
  const plain = text.replace(/%([0-9A-Fa-f]{2})/g, unescaped).replace(HOST, " ");
  const runs = (plain.match(/[0-9A-Za-z]+/g) ?? []).filter((run) => /[0-9]/.test(run) || !/[a-z]/.test(run));
  const [productId, productKey] = [only(runs, 12), only(runs, 14)];
  return productId && productKey ? { productId, productKey } : null;
}

/** What a person is told of a text that holds none: one line, not long. */
export function shown(text: string): string {
  const line = text
    .slice(0, 4 * SHOWN_CHARS)
    .replace(/[\p{C}\p{Z}\s]+/gu, " ")
    .trim();
  const characters = [...line];
  return characters.length <= SHOWN_CHARS ? line : `${characters.slice(0, SHOWN_CHARS - 1).join("")}…`;
}
