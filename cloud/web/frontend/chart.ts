// The charts of one device: its past from /api/v1, any part of it, then one point a second while somebody looks.
import { Chart, prepare, timeText, type Stage } from "./chart_draw";
import { Past, type History, type Sample } from "./chart_past";
import { PLOTS, type Plot } from "./chart_plots";
import { startFingers, startKeys, startWheel, type Way } from "./chart_zoom";
import { drawn, pause } from "./pause";
import { gettext } from "./words";

const HISTORY_PAUSE_MS = 500; // several changes at once are one reload
const RELOAD_MS = 300_000; // keeps a page that stays open for days small
const MIN_SPAN_S = 60;
const MIN_PIECES = 120;
const MAX_PIECES = 720;

// What is shown: the last `range_s` seconds (0: all there is), or a part of the past.
type View = { range_s: number } | { from_s: number; to_s: number };

function isLive(view: View): view is { range_s: number } {
  return "range_s" in view;
}

class Charts implements Stage {
  private readonly past = new Past();
  private charts: Chart[] = [];
  private view: View;
  private moving: [number, number] | undefined; // while fingers are on it
  private drawn: string | undefined;
  private loading = 0;
  private drawing = 0;
  private refreshing = false;
  private selecting: [number, number] | undefined;
  private chosen = false; // what the page came with is on it already
  private readonly whole: boolean; // one piece of the past with both its ends
  private readonly way: Way;

  constructor(
    private readonly root: HTMLElement,
    private readonly source: string,
    private readonly changed: (view: View, window: [number, number]) => void,
  ) {
    const { from, to, range, whole } = root.dataset;
    this.whole = whole !== undefined;
    this.view = from && to ? { from_s: Number(from), to_s: Number(to) } : { range_s: Number(range ?? "3600") };
    this.way = {
      window: () => this.window(),
      preview: (from_s, to_s) => this.preview(from_s, to_s),
      settle: () => this.settle(),
      go: (where) => this.go(where),
    };
  }

  show(view: View): void {
    this.view = view;
    this.moving = undefined;
    this.chosen = true;
    this.refresh();
    void this.load();
  }

  // What was stored meanwhile, beside what came live.
  reload(): void {
    if (!document.hidden && (this.whole || isLive(this.view))) void this.load();
  }

  add(sample: Sample): void {
    if (!isLive(this.view) || this.whole) return;
    const range_s = this.view.range_s;
    const from_s = range_s ? Math.max(this.past.right(), sample.t_s) - range_s : 0;
    if (!this.past.add(sample, from_s)) return;
    if (this.moving) return; // drawn when the fingers are gone
    void this.refreshCalmly();
    this.note();
  }

  go(where: string): void {
    const [from, to] = this.window();
    const [span, now] = [to - from, Date.now() / 1000];
    if (where === "all") return this.show({ range_s: 0 });
    if (where === "live") return this.show({ range_s: this.lastRange() });
    if (where === "earlier") return this.part(from - span / 2, to - span / 2);
    if (where === "later") return this.part(from + span / 2, to + span / 2);
    if (where === "closer") return this.part(from + span / 4, to - span / 4);
    return this.part(from - span / 2, Math.min(now, to + span / 2));
  }

  // One chart after the other, so that the page answers in between.
  async draw(): Promise<void> {
    const turn = ++this.drawing;
    for (const chart of this.charts) chart.destroy();
    this.charts = [];
    const points = this.past.history?.points;
    if (!points) return;
    const placed = this.places();
    const known = PLOTS.map((plot) => ({ ...plot, lines: plot.lines.filter((line) => line.point in points) }));
    const wanted = known.filter((plot) => plot.lines.length > 0 && (!placed || placed.has(plot.key)));
    const ordered = placed ? [...placed.keys()].flatMap((key) => wanted.filter((plot) => plot.key === key)) : wanted;
    if (!placed) this.root.replaceChildren();
    this.drawn = Object.keys(points).sort().join();
    for (const plot of ordered) {
      await pause();
      if (turn !== this.drawing) return;
      this.charts.push(this.make(plot, placed?.get(plot.key)));
    }
  }

  resize(): void {
    for (const chart of this.charts) chart.resize();
  }

  // --- what the charts ask -----------------------------------------------------------------------------------

  history(): History | undefined {
    return this.past.history;
  }

  window(): [number, number] {
    if (this.moving) return this.moving;
    const history = this.past.history;
    if (this.whole) return [history?.from_s ?? 0, history?.to_s ?? 1];
    if (!isLive(this.view)) return [this.view.from_s, this.view.to_s];
    const right = this.past.right();
    return [this.view.range_s ? right - this.view.range_s : (history?.from_s ?? 0), right];
  }

  // All charts of a page select together: the last word counts.
  selected(from_s: number, to_s: number): void {
    if (!this.selecting) queueMicrotask(() => this.select());
    this.selecting = [from_s, to_s];
  }

  private select(): void {
    const selected = this.selecting;
    this.selecting = undefined;
    if (selected && !this.whole) this.part(...selected);
  }

  // --- moving ------------------------------------------------------------------------------------------------

  private part(from_s: number, to_s: number): void {
    if (this.whole) return;
    const window = bounded(from_s, to_s);
    this.show({ from_s: window[0], to_s: window[1] });
  }

  private preview(from_s: number, to_s: number): void {
    if (this.whole) return;
    this.moving = bounded(from_s, to_s);
    this.refresh();
  }

  private settle(): void {
    if (this.moving) this.part(...this.moving);
  }

  private lastRange(): number {
    return isLive(this.view) ? this.view.range_s : Number(this.root.dataset["range"] ?? "3600");
  }

  // --- reading -----------------------------------------------------------------------------------------------

  async load(): Promise<void> {
    const turn = ++this.loading;
    const view = this.view;
    this.root.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(this.address(view), { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const history = (await answer.json()) as History;
      if (turn !== this.loading) return; // something else was chosen meanwhile
      this.past.take(history, isLive(view) && !this.whole);
      if (isLive(view)) this.root.dataset["range"] = String(view.range_s);
      if (this.charts.length && this.drawn === Object.keys(history.points).sort().join()) this.refresh();
      else await this.draw();
      if (turn !== this.loading) return;
      this.note();
      if (this.chosen) this.changed(view, this.window());
    } catch {
      if (turn === this.loading) this.say(gettext("The chart could not be loaded. It is tried again in a moment."));
      setTimeout(() => {
        if (turn === this.loading) void this.load();
      }, 5000);
    } finally {
      if (turn === this.loading) this.root.removeAttribute("aria-busy");
    }
  }

  private address(view: View): string {
    if (this.whole) return this.source;
    const query = new URLSearchParams();
    if (isLive(view)) query.set("range_s", String(view.range_s));
    else {
      query.set("from_ms", String(Math.round(view.from_s * 1000)));
      query.set("to_ms", String(Math.round(view.to_s * 1000)));
    }
    const width = Math.round(this.root.clientWidth / 2);
    query.set("pieces", String(Math.min(MAX_PIECES, Math.max(MIN_PIECES, width))));
    const placed = this.places();
    const points = PLOTS.filter((plot) => placed?.has(plot.key)).flatMap((plot) => plot.lines.map((line) => line.point));
    if (points.length) query.set("points", points.join());
    return `${this.source}?${query}`;
  }

  // Where the charts go that somebody has picked; undefined where the page leaves that to us.
  private places(): Map<string, HTMLElement> | undefined {
    const found = [...this.root.querySelectorAll<HTMLElement>("[data-chart]")];
    if (!found.length) return undefined;
    const shown = found.filter((one) => !one.hidden);
    return new Map(shown.map((one) => [one.dataset["chart"] ?? "", one] as const));
  }

  private make(plot: Plot, place: HTMLElement | undefined): Chart {
    let figure = place?.querySelector<HTMLElement>("figure") ?? undefined;
    if (!figure) {
      figure = document.createElement("figure");
      this.root.append(figure);
    }
    const chart = new Chart(plot, figure, this);
    if (this.whole) return chart;
    startFingers(chart.over, this.way);
    startWheel(chart.over, this.way);
    chart.over.addEventListener("dblclick", () => this.go("live"));
    const focus = figure.parentElement ?? figure;
    if (!focus.dataset["keys"]) {
      focus.dataset["keys"] = "yes";
      startKeys(focus, this.way);
    }
    return chart;
  }

  private refresh(): void {
    for (const chart of this.charts) chart.refresh();
  }

  // One chart after the other: nobody waits for it.
  private async refreshCalmly(): Promise<void> {
    if (this.refreshing) return;
    this.refreshing = true;
    for (const chart of [...this.charts]) {
      await pause();
      if (this.charts.includes(chart)) chart.refresh();
    }
    this.refreshing = false;
  }

  private note(): void {
    const history = this.past.history;
    const until_s = history?.imported_until_s;
    const [from, to] = this.window();
    if (!history?.t_s.length) this.say(gettext("No readings in this range."));
    else if (until_s == null) this.say("");
    else this.say(gettext("Readings up to {time} were imported.", { time: timeText(until_s, to - from) }));
  }

  private say(text: string): void {
    const note = document.getElementById("chart-note");
    if (note && note.textContent !== text) note.textContent = text;
  }
}

function bounded(from_s: number, to_s: number): [number, number] {
  const now = Date.now() / 1000;
  const span = Math.min(Math.max(MIN_SPAN_S, to_s - from_s), now);
  const end = Math.min(now, Math.max(span, (from_s + to_s + span) / 2));
  return [Math.max(0, end - span), end];
}

// --- the page around them --------------------------------------------------------------------------------------

function queryOf(view: View): Record<string, string> {
  if (isLive(view)) return { range_s: String(view.range_s) };
  return { from_ms: String(Math.round(view.from_s * 1000)), to_ms: String(Math.round(view.to_s * 1000)) };
}

// Address, ranges, downloads and tables follow what is shown.
function follow(view: View, window: [number, number]): void {
  const address = new URL(location.href);
  for (const name of ["range_s", "from_ms", "to_ms"]) address.searchParams.delete(name);
  for (const [name, value] of Object.entries(queryOf(view))) address.searchParams.set(name, value);
  history.replaceState(null, "", address);
  for (const link of document.querySelectorAll<HTMLAnchorElement>("a[data-range]")) {
    const shown = isLive(view) && link.dataset["range"] === String(view.range_s);
    if (shown) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  for (const link of document.querySelectorAll<HTMLElement>("[data-go=live], [data-go=later]")) link.hidden = isLive(view);
  for (const link of document.querySelectorAll<HTMLAnchorElement>("a[data-export]")) {
    const target = new URL(link.href);
    target.searchParams.set("from_ms", String(Math.floor(window[0] * 1000)));
    target.searchParams.set("to_ms", String(Math.ceil(window[1] * 1000)));
    link.href = target.href;
  }
  const said = document.getElementById("chart-window");
  const span = window[1] - window[0];
  if (said) said.hidden = isLive(view);
  if (said) said.textContent = `${timeText(window[0], Math.max(span, 86_401))} – ${timeText(window[1], Math.max(span, 86_401))}`;
  for (const table of document.querySelectorAll<HTMLElement>("[data-table]")) {
    table.dataset["stale"] = "yes";
    void fill(table);
  }
}

// A table that somebody has opened shows what the chart above it does.
async function fill(table: HTMLElement): Promise<void> {
  const details = table.closest("details");
  if (!details?.open || !table.dataset["stale"]) return;
  delete table.dataset["stale"];
  const query = new URLSearchParams(location.search);
  query.delete("show");
  query.set("show", table.dataset["table"] ?? "");
  const answer = await fetch(`${location.pathname}/table?${query}`).catch(() => undefined);
  if (!answer?.ok) {
    table.dataset["stale"] = "yes";
    return;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  table.replaceChildren(...page.body.childNodes);
}

function startPicks(charts: Charts): void {
  const picks = document.querySelector<HTMLFormElement>("#picks");
  if (!picks) return;
  for (const button of picks.querySelectorAll<HTMLElement>("button")) button.hidden = true;
  picks.addEventListener("change", () => {
    const shown = new FormData(picks).getAll("show").map(String);
    for (const place of document.querySelectorAll<HTMLElement>("[data-chart]")) {
      place.hidden = !shown.includes(place.dataset["chart"] ?? "");
    }
    const address = new URL(location.href);
    address.searchParams.delete("show");
    for (const key of shown) address.searchParams.append("show", key);
    history.replaceState(null, "", address);
    void charts.load();
  });
}

function start(): void {
  const root = document.getElementById("charts");
  const source = root?.dataset["source"];
  if (!root || !source) return;
  const whole = root.dataset["whole"] !== undefined;
  const charts = new Charts(root, source, whole ? () => undefined : follow);
  void drawn().then(async () => {
    void charts.load();
    await pause();
    prepare();
  });
  for (const link of document.querySelectorAll<HTMLAnchorElement>("a[data-range], a[data-go]")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      if (link.dataset["go"]) charts.go(link.dataset["go"]);
      else charts.show({ range_s: Number(link.dataset["range"]) });
    });
  }
  for (const table of document.querySelectorAll<HTMLElement>("[data-table]")) {
    table.closest("details")?.addEventListener("toggle", () => void fill(table));
  }
  startPicks(charts);
  document.body.addEventListener("sample", (event) => {
    const data = (event as CustomEvent<{ data?: string }>).detail?.data;
    if (data) charts.add(JSON.parse(data) as Sample);
  });
  let soon: number | undefined;
  document.body.addEventListener("history", () => {
    clearTimeout(soon);
    soon = window.setTimeout(() => charts.reload(), HISTORY_PAUSE_MS);
  });
  setInterval(() => charts.reload(), RELOAD_MS);
  document.addEventListener("visibilitychange", () => charts.reload()); // nothing came while it was hidden
  document.addEventListener("themechange", () => void charts.draw());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => void charts.draw());
  new ResizeObserver(() => charts.resize()).observe(root);
}

start();
