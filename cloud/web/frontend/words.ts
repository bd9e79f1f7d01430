// What scripts say, in the language of the page: gettext with the English text as its key. The translations
// stand in the page (cloud/web/templates/base.html); a page in English has none.
type Catalog = Record<string, string | string[]>;

const element = document.getElementById("words");
const catalog: Catalog = element ? (JSON.parse(element.textContent ?? "{}") as Catalog) : {};
const spoken = document.documentElement.lang;

export type Values = Record<string, string | number>;

function filled(text: string, values: Values): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

export function gettext(message: string, values: Values = {}): string {
  const found = catalog[message];
  return filled(typeof found === "string" ? found : message, values);
}

// French has one form for 0 and 1, English and German have it for 1 alone.
export function ngettext(one: string, many: string, count: number, values: Values = {}): string {
  const first = spoken === "fr" ? count < 2 : count === 1;
  const found = catalog[one];
  const texts = Array.isArray(found) ? found : [one, many];
  return filled(texts[first ? 0 : 1] ?? many, { count, ...values });
}

// For dates and numbers: the browser's own habit in English (British and American dates differ), else the page's.
export const locale = spoken === "en" ? undefined : spoken;
