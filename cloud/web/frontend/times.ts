// <time data-ago> counts on between two messages of the server; <time data-clock> shows the reader's own zone.
// The same words as cloud/web/wording.py.
import { gettext, locale, ngettext } from "./words";

function ago(age_s: number): string {
  if (age_s < 5) return gettext("just now");
  if (age_s < 60) return gettext("{seconds} s ago", { seconds: Math.floor(age_s) });
  if (age_s < 3600) return gettext("{minutes} min ago", { minutes: Math.floor(age_s / 60) });
  if (age_s < 86400) return gettext("{hours} h ago", { hours: Math.floor(age_s / 3600) });
  return ngettext("{count} day ago", "{count} days ago", Math.floor(age_s / 86400));
}

const clock = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "medium" });
const time = new Intl.DateTimeFormat(locale, { timeStyle: "short" });

function refresh(): void {
  for (const element of document.querySelectorAll<HTMLTimeElement>("time[data-ago], time[data-clock], time[data-time]")) {
    const at = Date.parse(element.dateTime);
    if (Number.isNaN(at)) continue;
    const text =
      "ago" in element.dataset
        ? ago(Math.max(0, (Date.now() - at) / 1000))
        : ("clock" in element.dataset ? clock : time).format(at);
    if (element.textContent !== text) element.textContent = text;
    const title = clock.format(at);
    if (element.title !== title) element.title = title;
  }
}

export function startTimes(): void {
  refresh();
  setInterval(refresh, 1000);
  document.body.addEventListener("htmx:after:swap", refresh);
  document.body.addEventListener("htmx:sse:after:message", refresh);
}
