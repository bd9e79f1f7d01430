// The charts of one device: history from /api/v1, then one point a second from the page's event stream.
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

interface Line {
  point: string;
  label: string;
  colour: string;
}

interface Plot {
  title: string;
  unit: string;
  digits: number;
  share?: number; // what one unit is of what the point has
  lines: Line[];
  range: (low: number, high: number) => [number, number];
}

interface History {
  t_s: number[];
  points: Record<string, (number | null)[]>;
  on_battery: [number, number][];
  gap_s: number;
  from_s: number;
  to_s: number;
  imported_until_s: number | null;
}

interface Sample {
  t_s: number;
  on_battery: boolean;
  values: Record<string, number | null>;
}

const percent = (): [number, number] => [0, 100];

// Close up while the mains are there, so that small changes show; from zero once they have failed.
function volts(low: number, high: number): [number, number] {
  if (low < 80) return [0, Math.max(130, high * 1.1)];
  return [Math.floor(low / 10 - 0.5) * 10, Math.ceil(high / 10 + 0.5) * 10];
}

const PLOTS: Plot[] = [
  {
    title: "Runtime left",
    unit: "min",
    digits: 0,
    share: 60,
    lines: [{ point: "runtime_remaining", label: "Runtime left", colour: "--line-2" }],
    range: (_low, high) => [0, Math.max(10, Math.ceil(high * 1.1))],
  },
  {
    title: "Voltage",
    unit: "V",
    digits: 1,
    lines: [
      { point: "input_voltage", label: "Mains", colour: "--line-1" },
      { point: "output_voltage", label: "Output", colour: "--line-2" },
    ],
    range: volts,
  },
  {
    title: "Load",
    unit: "%",
    digits: 0,
    lines: [{ point: "output_real_power_pct", label: "Load", colour: "--line-3" }],
    range: (_low, high) => [0, Math.max(100, Math.ceil(high / 10) * 10)],
  },
  {
    title: "Battery",
    unit: "%",
    digits: 0,
    lines: [{ point: "state_of_charge", label: "Charge", colour: "--line-4" }],
    range: percent,
  },
];

const HEIGHT = 170;
const HISTORY_PAUSE_MS = 500; // several changes at once are one reload
const MAX_EARLY = 300; // five minutes of a device that somebody watches
const RELOAD_MS = 300_000; // keeps a page that stays open for days small
const shortTime = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const fullTime = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });

function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// Title, lines and their values: those under the cursor, else the newest.
class Legend {
  readonly element = document.createElement("figcaption");
  private readonly time = document.createElement("span");
  private readonly values: HTMLElement[] = [];

  constructor(private readonly plot: Plot) {
    const title = document.createElement("strong");
    title.textContent = plot.title;
    this.element.append(title);
    for (const line of plot.lines) {
      const entry = document.createElement("span");
      entry.className = `key key${line.colour}`;
      const value = document.createElement("b");
      entry.append(plot.lines.length > 1 ? `${line.label} ` : "", value);
      this.values.push(value);
      this.element.append(entry);
    }
    this.time.className = "key-time";
    this.element.append(this.time);
  }

  show(u: uPlot): void {
    const under = u.cursor.idx;
    const index = under ?? u.data[0].length - 1;
    this.values.forEach((element, number) => {
      const value = u.data[number + 1]?.[index];
      element.textContent = value == null ? "–" : `${value.toFixed(this.plot.digits)} ${this.plot.unit}`;
    });
    const at = under == null ? undefined : u.data[0][index];
    this.time.textContent = at === undefined ? "" : fullTime.format(at * 1000);
  }
}

class Charts {
  private history: History | undefined;
  private plots: uPlot[] = [];
  private range_s: number;
  private loading = 0;
  private drawn_s = 0;
  private early: Sample[] = []; // came live before the first history did
  private shown: Plot[] = [];
  private readonly whole: boolean; // one piece of the past with both its ends

  constructor(
    private readonly root: HTMLElement,
    private readonly source: string,
  ) {
    this.range_s = Number(root.dataset["range"] ?? "3600");
    this.whole = root.dataset["whole"] !== undefined;
  }

  async load(range_s: number): Promise<void> {
    this.range_s = range_s;
    const turn = ++this.loading;
    this.root.setAttribute("aria-busy", "true");
    try {
      const query = this.whole ? "" : `?range_s=${range_s}`;
      const answer = await fetch(`${this.source}${query}`, { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const history = (await answer.json()) as History;
      if (turn !== this.loading) return; // another range was chosen meanwhile
      const before = this.history;
      this.history = history;
      if (before) this.keepNewer(before);
      if (this.plots.length && this.drawn_s === range_s) this.refresh();
      else this.draw();
      for (const sample of this.early.splice(0)) this.add(sample);
      this.note();
    } catch {
      if (turn === this.loading) this.say("The chart could not be loaded. It is tried again in a moment.");
      setTimeout(() => {
        if (turn === this.loading) void this.load(range_s);
      }, 5000);
    } finally {
      this.root.removeAttribute("aria-busy");
    }
  }

  add(sample: Sample): void {
    const history = this.history;
    if (!history) {
      this.early = [...this.early.slice(1 - MAX_EARLY), sample];
      return;
    }
    const last = history.t_s.at(-1);
    if (last !== undefined && sample.t_s <= last) return;
    if (sample.t_s < this.right() - this.range_s) return; // the last known state of a device that is not heard
    if (last !== undefined && sample.t_s - last > history.gap_s) this.push(last + 0.001, {});
    this.push(sample.t_s, sample.values);
    const period = history.on_battery.at(-1);
    if (sample.on_battery) {
      if (period && last !== undefined && period[1] >= last - 0.001) period[1] = sample.t_s;
      else history.on_battery.push([sample.t_s, sample.t_s]);
    }
    this.trim(sample.t_s - this.range_s);
    this.refresh();
    this.note();
  }

  // What was stored meanwhile, beside what came live.
  reload(): void {
    if (!document.hidden) void this.load(this.range_s);
  }

  draw(): void {
    for (const plot of this.plots) plot.destroy();
    this.root.replaceChildren();
    if (!this.history) return;
    this.drawn_s = this.range_s;
    const points = this.history.points;
    const known = PLOTS.map((plot) => ({ ...plot, lines: plot.lines.filter((line) => line.point in points) }));
    this.shown = known.filter((plot) => plot.lines.length > 0);
    this.plots = this.shown.map((plot) => this.make(plot));
  }

  resize(): void {
    for (const plot of this.plots) plot.setSize({ width: this.width(), height: HEIGHT });
  }

  // Snapshots of this moment are shown, not stored: they stay until the stored readings have passed them.
  private keepNewer(before: History): void {
    const history = this.history;
    if (!history) return;
    const last_s = history.t_s.at(-1) ?? history.from_s;
    before.t_s.forEach((t_s, index) => {
      if (t_s <= last_s) return;
      const values = Object.entries(before.points).map(([name, column]) => [name, column[index] ?? null] as const);
      this.push(t_s, Object.fromEntries(values));
    });
    for (const [from, to] of before.on_battery) {
      if (to > last_s) history.on_battery.push([Math.max(from, last_s), to]);
    }
  }

  private push(t_s: number, values: Record<string, number | null>): void {
    const history = this.history;
    if (!history) return;
    history.t_s.push(t_s);
    for (const [name, column] of Object.entries(history.points)) column.push(values[name] ?? null);
  }

  private trim(from_s: number): void {
    const history = this.history;
    if (!history) return;
    const first = history.t_s.findIndex((t) => t >= from_s);
    if (first <= 0) return;
    history.t_s.splice(0, first);
    for (const column of Object.values(history.points)) column.splice(0, first);
  }

  private refresh(): void {
    this.plots.forEach((plot, index) => {
      const kind = this.shown[index];
      if (kind) plot.setData(this.columns(kind));
    });
  }

  private columns(plot: Plot): uPlot.AlignedData {
    const history = this.history;
    if (!history) return [[]];
    const share = plot.share ?? 1;
    const columns = plot.lines.map((line) => {
      const column = history.points[line.point] ?? [];
      return share === 1 ? column : column.map((value) => (value === null ? null : value / share));
    });
    return [history.t_s, ...columns] as uPlot.AlignedData;
  }

  private width(): number {
    return Math.max(240, this.root.clientWidth);
  }

  private make(plot: Plot): uPlot {
    const figure = document.createElement("figure");
    const legend = new Legend(plot);
    figure.append(legend.element);
    this.root.append(figure);
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--grid"), width: 1 }, ticks: { show: false } };
    const update = (u: uPlot): void => legend.show(u);
    const options: uPlot.Options = {
      width: this.width(),
      height: HEIGHT,
      padding: [8, 28, 0, 0],
      cursor: { sync: { key: "device" }, points: { size: 7 }, drag: { x: false, y: false } },
      legend: { show: false },
      scales: {
        x: { range: () => [this.left(), this.right()] },
        y: { range: (_u, low, high) => plot.range(low ?? 100, high ?? 100) },
      },
      axes: [
        { ...axis, space: 80, size: 30, values: (_u, ticks) => ticks.map((tick) => shortTime.format(tick * 1000)) },
        { ...axis, space: 30, size: 44 },
      ],
      series: [
        {},
        ...plot.lines.map((line) => ({
          label: line.label,
          stroke: colour(line.colour),
          width: 2,
          spanGaps: false,
          points: { show: false },
        })),
      ],
      hooks: { drawClear: [(u) => this.shade(u)], setCursor: [update], setData: [update], ready: [update] },
    };
    return new uPlot(options, this.columns(plot), figure);
  }

  private left(): number {
    return this.whole && this.history ? this.history.from_s : this.right() - this.range_s;
  }

  private right(): number {
    return Math.max(this.history?.to_s ?? 0, this.history?.t_s.at(-1) ?? 0);
  }

  private shade(u: uPlot): void {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.fillStyle = colour("--shade");
    for (const [from, to] of this.history?.on_battery ?? []) {
      const left = Math.max(bbox.left, u.valToPos(from, "x", true));
      const right = Math.min(bbox.left + bbox.width, u.valToPos(to, "x", true));
      if (right >= bbox.left && left <= bbox.left + bbox.width) {
        ctx.fillRect(left, bbox.top, Math.max(2, right - left), bbox.height);
      }
    }
    ctx.restore();
  }

  private note(): void {
    const until_s = this.history?.imported_until_s;
    if (!this.history?.t_s.length) this.say("No readings in this range.");
    else if (until_s == null) this.say("");
    else this.say(`Readings up to ${shortTime.format(until_s * 1000)} were imported.`);
  }

  private say(text: string): void {
    const note = document.getElementById("chart-note");
    if (note && note.textContent !== text) note.textContent = text;
  }
}

function start(): void {
  const root = document.getElementById("charts");
  const source = root?.dataset["source"];
  if (!root || !source) return;
  const charts = new Charts(root, source);
  void charts.load(Number(root.dataset["range"] ?? "3600"));
  const links = document.querySelectorAll<HTMLAnchorElement>("a[data-range]");
  for (const link of links) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      for (const other of links) other.toggleAttribute("aria-current", false);
      link.setAttribute("aria-current", "true");
      history.replaceState(null, "", link.href);
      void charts.load(Number(link.dataset["range"]));
    });
  }
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
  document.addEventListener("themechange", () => charts.draw());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.draw());
  new ResizeObserver(() => charts.resize()).observe(root);
}

start();
