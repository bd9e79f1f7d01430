// A long list is kept fresh where somebody looks: only the devices on the screen are asked for.
const COUNT_MS = 15_000; // how often the counts above are looked at: that takes all devices
const AT_MOST = 60; // as many as the server takes (cloud/web/device_list_views.py)

interface Detail {
  ctx: { request: { body: FormData } };
}

// A device, and how its row looks here: the server sends the rows that look otherwise.
function told(row: HTMLElement): string {
  const { device, mark } = row.dataset;
  return mark ? `${device}-${mark}` : `${device}`;
}

export function startScreen(): void {
  const list = document.querySelector<HTMLElement>("[data-screen]");
  if (!list) return;
  const seen = new Set<HTMLElement>();
  let counted_ms = Date.now();
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const row = entry.target as HTMLElement;
      if (entry.isIntersecting) seen.add(row);
      else seen.delete(row);
    }
  });
  for (const row of list.querySelectorAll("[data-device]")) observer.observe(row);
  list.addEventListener("htmx:config:request", (event) => {
    const body = (event as CustomEvent<Detail>).detail.ctx.request.body;
    if (document.hidden || seen.size === 0) return event.preventDefault();
    body.set("ids", [...seen].slice(0, AT_MOST).map(told).join("."));
    const tally = document.getElementById("tally");
    if (!tally || Date.now() - counted_ms < COUNT_MS) return;
    counted_ms = Date.now();
    body.set("counts", tally.dataset["counted"] ?? "");
  });
}
