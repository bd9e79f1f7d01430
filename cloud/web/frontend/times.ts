// <time data-ago> counts on between two messages of the server; <time data-clock> shows the reader's own zone.
// The same words as cloud/web/wording.py.
function ago(age_s: number): string {
  if (age_s < 5) return "just now";
  if (age_s < 60) return `${Math.floor(age_s)} s ago`;
  if (age_s < 3600) return `${Math.floor(age_s / 60)} min ago`;
  if (age_s < 86400) return `${Math.floor(age_s / 3600)} h ago`;
  const days = Math.floor(age_s / 86400);
  return days === 1 ? "1 day ago" : `${days} days ago`;
}

const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const time = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });

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
