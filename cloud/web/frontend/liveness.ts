// Says so when what is on the page is no longer live, and mends a connection that has died without a word.
const QUIET_MS = 6000; // the server speaks at least every 2 s (cloud/web/live.py)
const GRACE_MS = 1500; // a reconnect within this time is not worth a banner

interface Connection {
  reader: ReadableStreamDefaultReader<Uint8Array> | null;
  attempt: number;
}

function connectionOf(event: Event): Connection | undefined {
  return (event as CustomEvent<{ connection?: Connection }>).detail?.connection;
}

function watch(stream: HTMLElement, banner: HTMLElement): void {
  let heard = Date.now();
  let connection: Connection | undefined;

  const alive = (): void => {
    heard = Date.now();
    if (!banner.hidden) {
      banner.hidden = true;
      document.documentElement.classList.remove("is-stale");
    }
  };
  stream.addEventListener("htmx:sse:after:connection", (event) => {
    connection = connectionOf(event);
    alive();
  });
  stream.addEventListener("htmx:sse:before:message", (event) => {
    connection = connectionOf(event);
    alive();
  });
  let dropped: number | undefined;
  stream.addEventListener("htmx:sse:error", () => {
    dropped ??= Date.now();
  });
  stream.addEventListener("htmx:sse:after:connection", () => {
    dropped = undefined;
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) heard = Date.now(); // paused on purpose while hidden
  });
  setInterval(() => {
    if (document.hidden) return;
    const quiet = Date.now() - heard;
    const broken = dropped !== undefined && Date.now() - dropped > GRACE_MS;
    if (quiet < QUIET_MS && !broken) return;
    banner.hidden = false;
    document.documentElement.classList.add("is-stale");
    if (quiet >= QUIET_MS) {
      heard = Date.now() - QUIET_MS / 2; // then try again, at half the pace
      connection?.reader?.cancel().catch(() => undefined);
    }
  }, 500);
}

export function startLiveness(): void {
  const stream = document.querySelector<HTMLElement>("[data-live]");
  const banner = document.getElementById("stale");
  if (stream && banner) watch(stream, banner);
}
