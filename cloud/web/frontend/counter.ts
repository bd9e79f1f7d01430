// Code fields: say how many of the wanted characters are there; blanks and dashes do not count.
import { gettext } from "./words";

const IGNORED = /[\s\-\u2010-\u2015\u2212_.]+/g; // the same set as protocol/identity.py

function show(field: HTMLInputElement, output: HTMLElement): void {
  const wanted = Number(field.dataset["length"]);
  const value = field.value.replace(IGNORED, "");
  const foreign = value.replace(/[0-9a-z]/gi, "");
  output.dataset["state"] = foreign ? "wrong" : value.length === wanted ? "complete" : value.length > wanted ? "wrong" : "open";
  output.textContent = foreign
    ? gettext("“{character}” is not on a label: letters A–Z and digits only", { character: [...foreign][0] ?? "" })
    : value.length > wanted
      ? gettext("{count} of {wanted} characters: {more} too many", { count: value.length, wanted, more: value.length - wanted })
      : gettext("{count} of {wanted} characters", { count: value.length, wanted });
}

export function startCounters(): void {
  for (const field of document.querySelectorAll<HTMLInputElement>("input[data-length]")) {
    const output = document.getElementById(`${field.id}-count`);
    if (!output) continue;
    const update = (): void => show(field, output);
    field.addEventListener("input", update);
    update();
  }
}
