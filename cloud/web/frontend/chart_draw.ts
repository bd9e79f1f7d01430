// One chart on its canvas: lines with the band between lowest and highest, outages, event marks, legend.
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { History, Mark } from "./chart_past";
import type { Plot } from "./chart_plots";
import { once } from "./pause";
import { gettext, locale } from "./words";

export const HEIGHT = 170;
const MARK_PX = 7; // so near to the cursor a mark is named
const TONES = new Set(["good", "warn", "bad", "calm"]);

const dates = (options: Intl.DateTimeFormatOptions): (() => Intl.DateTimeFormat) =>
  once(() => new Intl.DateTimeFormat(locale, options));
const clock = dates({ hour: "2-digit", minute: "2-digit" });
const seconds = dates({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = dates({ day: "numeric", month: "short" });
const dayClock = dates({ day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const month = dates({ month: "short", year: "numeric" });
// Numbers as the page around the charts writes them (cloud/web/wording.py), whatever the browser's own habit.
const figures = locale ?? "en";
const axisNumber = once(() => new Intl.NumberFormat(figures, { useGrouping: false }));
const numbers = [0, 1, 2].map((digits) =>
  once(() => new Intl.NumberFormat(figures, { minimumFractionDigits: digits, maximumFractionDigits: digits, useGrouping: false })),
);

function numberText(value: number, digits: number): string {
  return numbers[digits]?.().format(value) ?? value.toFixed(digits);
}

export function timeText(t_s: number, span_s: number): string {
  return (span_s > 86_400 ? dayClock : seconds)().format(t_s * 1000);
}

// Makes what takes longest while readings are still on their way.
export function prepare(): void {
  seconds();
  clock();
  axisNumber();
  numberText(0, 0);
}

function tickFormat(span_s: number, step_s: number): Intl.DateTimeFormat {
  if (span_s <= 900) return seconds();
  if (step_s < 86_400) return (span_s > 129_600 ? dayClock : clock)();
  return (step_s >= 27 * 86_400 ? month : day)();
}

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

  show(u: uPlot, marks: Mark[]): void {
    const under = u.cursor.idx;
    const index = under ?? u.data[0].length - 1;
    this.values.forEach((element, number) => {
      element.textContent = this.text(u, number, index, under != null);
    });
    const at = under == null ? undefined : u.data[0][index];
    const span_s = (u.scales["x"]?.max ?? 0) - (u.scales["x"]?.min ?? 0);
    const near = at === undefined ? undefined : nearest(u, marks);
    const time = at === undefined ? "" : timeText(at, span_s);
    this.time.textContent = near ? `${near.word}, ${timeText(near.t_s, span_s)}` : time;
  }

  private text(u: uPlot, number: number, index: number, under: boolean): string {
    const [mean, high, low] = [1, 2, 3].map((part) => u.data[3 * number + part]?.[index]);
    if (mean == null) return "–";
    const { digits, unit } = this.plot;
    const band = under && low != null && high != null && low.toFixed(digits) !== high.toFixed(digits);
    const more = band ? ` (${numberText(low, digits)}–${numberText(high, digits)})` : "";
    return `${numberText(mean, digits)}${more} ${unit}`;
  }
}

function nearest(u: uPlot, marks: Mark[]): Mark | undefined {
  const left = u.cursor.left ?? -1;
  if (left < 0) return undefined;
  let best: Mark | undefined;
  let distance = MARK_PX;
  for (const mark of marks) {
    const away = Math.abs(u.valToPos(mark.t_s, "x") - left);
    if (away <= distance) [best, distance] = [mark, away];
  }
  return best;
}

export interface Stage {
  history: () => History | undefined;
  window: () => [number, number];
  selected: (from_s: number, to_s: number) => void;
}

export class Chart {
  private readonly u: uPlot;

  constructor(
    readonly plot: Plot,
    private readonly figure: HTMLElement,
    private readonly stage: Stage,
  ) {
    const legend = new Legend(plot);
    figure.replaceChildren(legend.element);
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--grid"), width: 1 }, ticks: { show: false } };
    const update = (u: uPlot): void => legend.show(u, stage.history()?.marks ?? []);
    const options: uPlot.Options = {
      width: this.width(),
      height: HEIGHT,
      padding: [8, 28, 0, 0],
      cursor: {
        sync: { key: "device" },
        points: { size: (_u, index) => (index % 3 === 1 ? 7 : 0) }, // on the mean, not on the band's edges
        drag: { x: true, y: false, setScale: false, dist: 6 },
      },
      legend: { show: false },
      scales: {
        x: { range: () => stage.window() },
        y: { range: (_u, low, high) => plot.range(low ?? 100, high ?? 100) },
      },
      axes: [
        {
          ...axis,
          space: 84,
          size: 30,
          values: (u, ticks, _axis, _space, step) => {
            const span_s = (u.scales["x"]?.max ?? 0) - (u.scales["x"]?.min ?? 0);
            return ticks.map((tick) => tickFormat(span_s, step).format(tick * 1000));
          },
        },
        { ...axis, space: 30, size: 44, values: (_u, ticks) => ticks.map((tick) => axisNumber().format(tick)) },
      ],
      series: [{}, ...plot.lines.flatMap((line) => this.series(line.colour, line.label))],
      bands: plot.lines.map((line, number) => ({
        series: [3 * number + 2, 3 * number + 3] as [number, number],
        fill: `${colour(line.colour)}40`,
      })),
      hooks: {
        drawClear: [(u) => this.shade(u)],
        draw: [(u) => this.mark(u)],
        setCursor: [update],
        setData: [update],
        ready: [update],
        setSelect: [(u) => this.select(u)],
      },
    };
    this.u = new uPlot(options, this.columns(), figure);
  }

  get over(): HTMLElement {
    return this.u.over;
  }

  refresh(): void {
    this.u.setData(this.columns());
  }

  resize(): void {
    const width = this.width();
    if (width !== this.u.width) this.u.setSize({ width, height: HEIGHT });
  }

  destroy(): void {
    this.u.destroy();
    this.figure.replaceChildren();
  }

  private series(name: string, label: string): uPlot.Series[] {
    const edge = { stroke: "transparent", width: 0, spanGaps: false, points: { show: false } };
    return [
      { label, stroke: colour(name), width: 2, spanGaps: false, points: { show: false } },
      { label: gettext("{name}, highest", { name: label }), ...edge },
      { label: gettext("{name}, lowest", { name: label }), ...edge },
    ];
  }

  private columns(): uPlot.AlignedData {
    const history = this.stage.history();
    if (!history) return [[]];
    const share = this.plot.share ?? 1;
    const scaled = (column: (number | null)[] | undefined): (number | null)[] =>
      share === 1 ? (column ?? []) : (column ?? []).map((value) => (value === null ? null : value / share));
    const columns = this.plot.lines.flatMap(({ point }) =>
      [history.points[point], history.high[point], history.low[point]].map(scaled),
    );
    return [history.t_s, ...columns] as uPlot.AlignedData;
  }

  private width(): number {
    return Math.max(240, this.figure.clientWidth);
  }

  private select(u: uPlot): void {
    const { left, width } = u.select;
    if (width < 6) return;
    const [from, to] = [u.posToVal(left, "x"), u.posToVal(left + width, "x")];
    u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.stage.selected(from, to);
  }

  private shade(u: uPlot): void {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.fillStyle = colour("--shade");
    for (const [from, to] of this.stage.history()?.on_battery ?? []) {
      const left = Math.max(bbox.left, u.valToPos(from, "x", true));
      const right = Math.min(bbox.left + bbox.width, u.valToPos(to, "x", true));
      if (right >= bbox.left && left <= bbox.left + bbox.width) {
        ctx.fillRect(left, bbox.top, Math.max(2, right - left), bbox.height);
      }
    }
    ctx.restore();
  }

  // A small flag on the time axis for each event, in the colour of its tone; the cursor names it.
  private mark(u: uPlot): void {
    const { ctx, bbox } = u;
    const size = 5 * devicePixelRatio;
    const bottom = bbox.top + bbox.height;
    ctx.save();
    for (const mark of this.stage.history()?.marks ?? []) {
      const x = u.valToPos(mark.t_s, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.fillStyle = colour(`--${TONES.has(mark.tone) ? mark.tone : "calm"}`);
      ctx.beginPath();
      ctx.moveTo(x, bottom - 1.6 * size);
      ctx.lineTo(x + size, bottom);
      ctx.lineTo(x - size, bottom);
      ctx.closePath();
      ctx.fill();
    }
    ctx.restore();
  }
}
