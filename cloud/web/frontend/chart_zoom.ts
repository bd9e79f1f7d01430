// Moving through time on a chart: pinch and swipe with fingers, keys, a trackpad's pinch. Dragging is uPlot's own.
export interface Way {
  window: () => [number, number];
  preview: (from_s: number, to_s: number) => void;
  settle: () => void;
  go: (where: string) => void;
}

const KEYS: Record<string, string> = {
  ArrowLeft: "earlier",
  ArrowRight: "later",
  "+": "closer",
  "=": "closer",
  "-": "wider",
  Home: "all",
  End: "live",
  Escape: "live",
};
const WHEEL_PAUSE_MS = 200;
const SWIPE_PX = 8;

export function startKeys(element: HTMLElement, way: Way): void {
  element.addEventListener("keydown", (event) => {
    const where = KEYS[event.key];
    if (!where || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    way.go(where);
  });
}

// `over` is where lines are drawn: its left edge is the window's beginning.
export function startFingers(over: HTMLElement, way: Way): void {
  over.style.touchAction = "pan-y"; // up and down scrolls the page
  const fingers = new Map<number, number>(); // pointer → x
  let began: { fingers: [number, number?]; window: [number, number] } | undefined;
  let moved = false;

  const places = (): [number, number?] => [...fingers.values()].slice(0, 2) as [number, number?];
  const begin = (): void => {
    began = fingers.size ? { fingers: places(), window: way.window() } : undefined;
  };

  over.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "touch") return;
    fingers.set(event.pointerId, event.clientX);
    begin();
  });
  over.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId) || !began) return;
    fingers.set(event.pointerId, event.clientX);
    const box = over.getBoundingClientRect();
    const [from, to] = began.window;
    const per_px = (to - from) / box.width;
    const [a0, b0] = began.fingers;
    const [a1, b1] = places();
    if (b0 === undefined || b1 === undefined) {
      if (Math.abs(a1 - a0) < SWIPE_PX && !moved) return;
      const by = (a0 - a1) * per_px;
      way.preview(from + by, to + by);
    } else {
      const share = Math.abs(b0 - a0) / Math.max(12, Math.abs(b1 - a1));
      const middle = from + ((a0 + b0) / 2 - box.left) * per_px;
      const span = (to - from) * share;
      const place = ((a1 + b1) / 2 - box.left) / box.width;
      way.preview(middle - span * place, middle + span * (1 - place));
    }
    moved = true;
  });
  const lift = (event: PointerEvent): void => {
    if (!fingers.delete(event.pointerId)) return;
    begin();
    if (fingers.size || !moved) return;
    moved = false;
    way.settle();
  };
  over.addEventListener("pointerup", lift);
  over.addEventListener("pointercancel", lift);
}

// A trackpad's pinch is a wheel with Ctrl.
export function startWheel(over: HTMLElement, way: Way): void {
  let soon: number | undefined;
  over.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      const box = over.getBoundingClientRect();
      const [from, to] = way.window();
      const place = (event.clientX - box.left) / box.width;
      const span = (to - from) * Math.exp(event.deltaY / 100);
      const at = from + (to - from) * place;
      way.preview(at - span * place, at + span * (1 - place));
      clearTimeout(soon);
      soon = window.setTimeout(() => way.settle(), WHEEL_PAUSE_MS);
    },
    { passive: false },
  );
}
