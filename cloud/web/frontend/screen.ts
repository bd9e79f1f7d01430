// A long list is kept fresh where somebody looks: only the devices on the screen are asked for.
const AT_MOST = 60; // as many as the server takes (cloud/web/device_list_views.py)

interface Detail {
  ctx: { request: { body: FormData } };
}

export function startScreen(): void {
  const list = document.querySelector<HTMLElement>("[data-screen]");
  if (!list) return;
  const seen = new Set<string>();
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const number = (entry.target as HTMLElement).dataset["device"] ?? "";
      if (entry.isIntersecting) seen.add(number);
      else seen.delete(number);
    }
  });
  for (const row of list.querySelectorAll("[data-device]")) observer.observe(row);
  list.addEventListener("htmx:config:request", (event) => {
    const body = (event as CustomEvent<Detail>).detail.ctx.request.body;
    if (document.hidden || seen.size === 0) event.preventDefault();
    else body.set("ids", [...seen].slice(0, AT_MOST).join("."));
  });
}
