// What this browser lets through, on the page that explains what to do where it does not: each line is there without
// JavaScript, and says then that it is off or blocked.
import { gettext } from "./words";

type Check = () => boolean | Promise<boolean>;

const CHECKS: Readonly<Record<string, Check>> = {
  script: () => true,
  styles: () => getComputedStyle(document.documentElement).getPropertyValue("--card").trim() !== "",
  storage: () => {
    const name = "smartconnect.check";
    sessionStorage.setItem(name, "1");
    sessionStorage.removeItem(name);
    return true;
  },
  requests: async () => (await fetch("/healthz", { cache: "no-store" })).ok,
  live: () => "EventSource" in window,
};

async function judge(line: HTMLElement): Promise<void> {
  const place = line.querySelector<HTMLElement>("[data-check-said]");
  const check = CHECKS[line.dataset["check"] ?? ""];
  if (!place || !check) return;
  let good = false;
  try {
    good = await check();
  } catch {
    // blocked: that is what is to be told
  }
  place.textContent = good ? gettext("works") : gettext("blocked");
  place.className = good ? "badge good" : "badge bad";
}

export function startSelfcheck(): void {
  for (const line of document.querySelectorAll<HTMLElement>("[data-check]")) void judge(line);
}
