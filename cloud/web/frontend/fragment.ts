// Links from mails carry their secret behind the #, which no server sees: put it into the form and send that.
// Somebody who has to log in or sign up first comes to the log-in page, and browsers carry the secret along: there it
// is taken out of the address and kept in this tab until the form can be sent, as long as a label's codes (link.ts).
const LIFETIME_MS = 3_600_000;

interface Kept {
  readonly secret: string;
  readonly atMs: number;
}

// What stands behind the #, which is taken out of the address and the history.
function take(): string {
  const secret = location.hash.slice(1);
  if (secret) history.replaceState(null, "", location.pathname + location.search);
  return secret;
}

// What was kept under this name; it is forgotten, for it is about to be used.
function takeKept(name: string): string {
  const text = sessionStorage.getItem(name);
  sessionStorage.removeItem(name);
  if (!text) return "";
  try {
    const kept = JSON.parse(text) as Kept;
    return Math.abs(Date.now() - kept.atMs) < LIFETIME_MS ? kept.secret : "";
  } catch {
    return ""; // not ours
  }
}

function startKeeper(keeper: HTMLElement): void {
  const name = keeper.dataset["fragmentKeep"] ?? "";
  const secret = take();
  if (secret) {
    const kept: Kept = { secret, atMs: Date.now() };
    sessionStorage.setItem(name, JSON.stringify(kept));
  }
  keeper.hidden = sessionStorage.getItem(name) === null;
}

export function startFragments(): void {
  const keeper = document.querySelector<HTMLElement>("[data-fragment-keep]");
  if (keeper) startKeeper(keeper);
  const form = document.querySelector<HTMLFormElement>("form[data-fragment]");
  const field = form?.querySelector<HTMLInputElement>("input[name=link]");
  if (!form || !field) return;
  const kept = form.dataset["fragment"] ? takeKept(form.dataset["fragment"]) : "";
  const secret = take() || kept;
  if (!secret) return;
  field.value = secret;
  form.requestSubmit();
}
