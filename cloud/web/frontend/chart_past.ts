// The columns that charts are drawn from: what is stored, and what came live since.
export interface Mark {
  t_s: number;
  kind: string;
  word: string;
  tone: string;
}

export interface History {
  t_s: number[];
  points: Record<string, (number | null)[]>;
  low: Record<string, (number | null)[]>;
  high: Record<string, (number | null)[]>;
  on_battery: [number, number][];
  marks: Mark[];
  gap_s: number;
  from_s: number;
  to_s: number;
  imported_until_s: number | null;
}

export interface Sample {
  t_s: number;
  on_battery: boolean;
  values: Record<string, number | null>;
}

const MAX_EARLY = 300; // five minutes of a device that somebody watches

export class Past {
  history: History | undefined;
  private early: Sample[] = []; // came live before the first history did

  // Snapshots of this moment are shown, not stored: they stay until the stored readings have passed them.
  take(history: History, keeps: boolean): void {
    const before = this.history;
    this.history = history;
    if (!keeps) return;
    if (before) this.keepNewer(before);
    for (const sample of this.early.splice(0)) this.add(sample, 0);
  }

  // Whether a live sample belongs to what is shown since `from_s`.
  add(sample: Sample, from_s: number): boolean {
    const history = this.history;
    if (!history) {
      this.early = [...this.early.slice(1 - MAX_EARLY), sample];
      return false;
    }
    const last = history.t_s.at(-1);
    if (last !== undefined && sample.t_s <= last) return false;
    if (sample.t_s < Math.max(from_s, history.from_s)) return false; // the last known state of a device that is not heard
    if (last !== undefined && sample.t_s - last > history.gap_s) this.push(last + 0.001, {}, {}, {});
    this.push(sample.t_s, sample.values, sample.values, sample.values);
    const period = history.on_battery.at(-1);
    if (sample.on_battery) {
      if (period && last !== undefined && period[1] >= last - 0.001) period[1] = sample.t_s;
      else history.on_battery.push([sample.t_s, sample.t_s]);
    }
    this.trim(from_s);
    return true;
  }

  right(): number {
    return Math.max(this.history?.to_s ?? 0, this.history?.t_s.at(-1) ?? 0);
  }

  private keepNewer(before: History): void {
    const history = this.history;
    if (!history) return;
    const last_s = history.t_s.at(-1) ?? history.from_s;
    const at = (columns: Record<string, (number | null)[]>, index: number): Record<string, number | null> =>
      Object.fromEntries(Object.entries(columns).map(([name, column]) => [name, column[index] ?? null] as const));
    before.t_s.forEach((t_s, index) => {
      if (t_s > last_s) this.push(t_s, at(before.points, index), at(before.low, index), at(before.high, index));
    });
    for (const [from, to] of before.on_battery) {
      if (to > last_s) history.on_battery.push([Math.max(from, last_s), to]);
    }
  }

  private push(
    t_s: number,
    means: Record<string, number | null>,
    lows: Record<string, number | null>,
    highs: Record<string, number | null>,
  ): void {
    const history = this.history;
    if (!history) return;
    history.t_s.push(t_s);
    for (const [name, column] of Object.entries(history.points)) column.push(means[name] ?? null);
    for (const [name, column] of Object.entries(history.low)) column.push(lows[name] ?? null);
    for (const [name, column] of Object.entries(history.high)) column.push(highs[name] ?? null);
  }

  private trim(from_s: number): void {
    const history = this.history;
    if (!history) return;
    const first = history.t_s.findIndex((t) => t >= from_s);
    if (first <= 0) return;
    history.t_s.splice(0, first);
    for (const columns of [history.points, history.low, history.high]) {
      for (const column of Object.values(columns)) column.splice(0, first);
    }
  }
}
