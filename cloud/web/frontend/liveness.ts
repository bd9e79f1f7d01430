// Says so when what is on the page is no longer live, and mends a connection that has died without a word.
const QUIET_MS = 6000; // the server speaks at least every 2 s (cloud/web/live.py)
const GRACE_MS = 1500; // a reconnect within this time is not worth a banner
const GONE = new Set([401, 403, 404]); // logged out, or no longer ours: the page itself says what to do

interface Connection {
  reader: ReadableStreamDefaultReader<Uint8Array> | null;
}

interface Detail {
  connection?: Connection;
  status?: number;
}

function detailOf(event: Event): Detail {
  return (event as CustomEvent<Detail>).detail ?? {};
}

function show(banner: HTMLElement, stale: boolean): void {
  if (banner.hidden === !stale) return;
  banner.hidden = !stale;
  document.documentElement.classList.toggle("is-stale", stale);
}

// A page with an event stream: a device, a claim.
function watchStream(stream: HTMLElement, banner: HTMLElement): void {
  let heard = Date.now();
  let dropped: number | undefined;
  let connection: Connection | undefined;
  let over = false;

  const alive = (event: Event): void => {
    connection = detailOf(event).connection;
    heard = Date.now();
    dropped = undefined;
    document.documentElement.classList.add("is-live");
    show(banner, false);
  };
  stream.addEventListener("htmx:sse:after:connection", alive);
  stream.addEventListener("htmx:sse:before:message", alive);
  stream.addEventListener("htmx:sse:error", (event) => {
    dropped ??= Date.now();
    if (GONE.has(detailOf(event).status ?? 0)) location.reload();
  });
  stream.addEventListener("gone", () => location.reload());
  stream.addEventListener("decided", () => {
    over = true;
    document.documentElement.classList.remove("is-live");
    show(banner, false);
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) heard = Date.now(); // paused on purpose while hidden
  });
  setInterval(() => {
    if (document.hidden || over) return;
    const quiet = Date.now() - heard;
    const broken = dropped !== undefined && Date.now() - dropped > GRACE_MS;
    if (quiet < QUIET_MS && !broken) return;
    document.documentElement.classList.remove("is-live");
    show(banner, true);
    if (quiet < QUIET_MS) return;
    heard = Date.now() - QUIET_MS / 2; // then try again, at half the pace
    if (connection) connection.reader?.cancel().catch(() => undefined);
    else void reloadWhenThere(); // the first connection never came about
  }, 500);
}

async function reloadWhenThere(): Promise<void> {
  const answer = await fetch("/healthz").catch(() => undefined);
  if (answer?.ok) location.reload();
}

// A page that asks again and again: the list of devices.
function watchPolls(part: HTMLElement, banner: HTMLElement): void {
  part.addEventListener("htmx:error", () => show(banner, true));
  part.addEventListener("htmx:response:error", () => show(banner, true));
  part.addEventListener("htmx:after:request", (event) => {
    const status = (event as CustomEvent<{ ctx?: { response?: { status?: number } } }>).detail.ctx?.response?.status ?? 0;
    if (status >= 200 && status < 400) show(banner, false);
  });
}

export function startLiveness(): void {
  const banner = document.getElementById("stale");
  if (!banner) return;
  const stream = document.querySelector<HTMLElement>("[data-live]");
  if (stream) watchStream(stream, banner);
  const part = document.querySelector<HTMLElement>("[data-polled]");
  if (part) watchPolls(part, banner);
}
