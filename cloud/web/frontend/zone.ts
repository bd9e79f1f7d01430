// Where nobody has said in which time zone a UPS stands: it stands where the person is who has just registered it.
export function startZones(): void {
  for (const field of document.querySelectorAll<HTMLSelectElement>("select[data-zone-guess]")) {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if ([...field.options].some((option) => option.value === zone)) field.value = zone;
  }
}
