// <time data-ago> counts on between two messages of the server; <time data-clock> shows the reader's own zone.
// The same words as cloud/web/wording.py.
import { drawn, once } from "./pause";
import { gettext, locale, ngettext } from "./words";

function ago(age_s: number): string {
  if (age_s < 5) return gettext("just now");
  if (age_s < 60) return gettext("{seconds} s ago", { seconds: Math.floor(age_s) });
  if (age_s < 3600) return gettext("{minutes} min ago", { minutes: Math.floor(age_s / 60) });
  if (age_s < 86400) return gettext("{hours} h ago", { hours: Math.floor(age_s / 3600) });
  return ngettext("{count} day ago", "{count} days ago", Math.floor(age_s / 86400));
}

const clock = once(() => new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "medium" }));
const time = once(() => new Intl.DateTimeFormat(locale, { timeStyle: "short" }));

interface Told {
  moment: string;
  at: number;
  title: string;
  text: string | undefined; // undefined: it counts
}
const told = new WeakMap<HTMLTimeElement, Told>(); // a list has hundreds, and most stay as they are

function tell(element: HTMLTimeElement): Told | undefined {
  const moment = element.dateTime;
  const known = told.get(element);
  if (known?.moment === moment) return known;
  const at = Date.parse(moment);
  if (Number.isNaN(at)) return undefined;
  const title = clock().format(at);
  const still = "clock" in element.dataset ? title : time().format(at);
  const found = { moment, at, title, text: "ago" in element.dataset ? undefined : still };
  told.set(element, found);
  return found;
}

// What counts on does so where it can be seen, and a bit around: a long list else is laid out anew every second.
const near = new WeakSet<Element>();
const watched = new WeakSet<Element>();
const observer = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) near.add(target);
      else near.delete(target);
      if (isIntersecting) show(target as HTMLTimeElement);
    }
  },
  { rootMargin: "50%" },
);

function show(element: HTMLTimeElement): void {
  const found = tell(element);
  if (!found) return;
  const text = found.text ?? ago(Math.max(0, (Date.now() - found.at) / 1000));
  if (element.textContent !== text) element.textContent = text;
  if (element.title !== found.title) element.title = found.title;
}

function times(): NodeListOf<HTMLTimeElement> {
  return document.querySelectorAll<HTMLTimeElement>("time[data-ago], time[data-clock], time[data-time]");
}

function refresh(): void {
  for (const element of times()) {
    if (!("ago" in element.dataset) || near.has(element)) show(element);
    else if (!watched.has(element)) {
      watched.add(element);
      observer.observe(element);
    }
  }
}

export function startTimes(): void {
  let waiting = false;
  const soon = (): void => {
    if (waiting) return; // many rows at once are looked at once, before they are drawn
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      refresh();
    });
  };
  void drawn().then(refresh);
  setInterval(refresh, 1000);
  window.addEventListener("beforeprint", () => times().forEach(show)); // paper has all of it
  document.body.addEventListener("htmx:after:swap", soon);
  document.body.addEventListener("htmx:sse:after:message", soon);
}
