// State/Province: a country that has none fills the field in by itself, and one that has empties it again.
export function startStates(): void {
  for (const field of document.querySelectorAll<HTMLInputElement>("input[data-without]")) {
    const country = document.querySelector<HTMLSelectElement>("select#location");
    const none = field.dataset["none"] ?? "";
    const without = new Set((field.dataset["without"] ?? "").split(" "));
    if (!country) continue;
    const fill = (): void => {
      if (without.has(country.value)) field.value = none;
      else if (field.value === none) field.value = "";
    };
    country.addEventListener("change", fill);
    if (!field.value) fill();
  }
}
