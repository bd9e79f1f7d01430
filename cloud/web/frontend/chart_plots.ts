// What charts there are: their points, units and colours. cloud/web/chart_words.py has the same words.
import { gettext } from "./words";

export interface Line {
  point: string;
  label: string;
  colour: string;
}

export interface Plot {
  key: string;
  title: string;
  unit: string;
  digits: number;
  share?: number; // what one unit is of what the point has
  lines: Line[];
  range: (low: number, high: number) => [number, number];
}

const percent = (): [number, number] => [0, 100];

// Close up while the mains are there, so that small changes show; from zero once they have failed.
function volts(low: number, high: number): [number, number] {
  if (low < 80) return [0, Math.max(130, high * 1.1)];
  return [Math.floor(low / 10 - 0.5) * 10, Math.ceil(high / 10 + 0.5) * 10];
}

// Whatever is there, with some room around it.
function around(room: number): (low: number, high: number) => [number, number] {
  return (low, high) => [Math.floor(low - room), Math.ceil(high + room)];
}

export const PLOTS: Plot[] = [
  {
    key: "runtime",
    title: gettext("Runtime left"),
    unit: "min",
    digits: 0,
    share: 60,
    lines: [{ point: "runtime_remaining", label: gettext("Runtime left"), colour: "--line-2" }],
    range: (_low, high) => [0, Math.max(10, Math.ceil(high * 1.1))],
  },
  {
    key: "voltage",
    title: gettext("Voltage"),
    unit: "V",
    digits: 1,
    lines: [
      { point: "input_voltage", label: gettext("Mains"), colour: "--line-1" },
      { point: "output_voltage", label: gettext("Output"), colour: "--line-2" },
    ],
    range: volts,
  },
  {
    key: "load",
    title: gettext("Load"),
    unit: "%",
    digits: 0,
    lines: [{ point: "output_real_power_pct", label: gettext("Load"), colour: "--line-3" }],
    range: (_low, high) => [0, Math.max(100, Math.ceil(high / 10) * 10)],
  },
  {
    key: "charge",
    title: gettext("Battery"),
    unit: "%",
    digits: 0,
    lines: [{ point: "state_of_charge", label: gettext("Charge"), colour: "--line-4" }],
    range: percent,
  },
  {
    key: "temperature",
    title: gettext("Battery temperature"),
    unit: "°C",
    digits: 1,
    lines: [{ point: "battery_temperature", label: gettext("Battery temperature"), colour: "--line-4" }],
    range: around(2),
  },
  {
    key: "battery_voltage",
    title: gettext("Battery voltage"),
    unit: "V",
    digits: 1,
    lines: [{ point: "battery_voltage", label: gettext("Battery voltage"), colour: "--line-4" }],
    range: around(1),
  },
  {
    key: "frequency",
    title: gettext("Frequency"),
    unit: "Hz",
    digits: 1,
    lines: [{ point: "output_frequency", label: gettext("Output frequency"), colour: "--line-2" }],
    range: around(1),
  },
  {
    key: "current",
    title: gettext("Current"),
    unit: "A",
    digits: 1,
    lines: [{ point: "output_current", label: gettext("Output current"), colour: "--line-3" }],
    range: (_low, high) => [0, Math.max(1, Math.ceil(high * 1.1))],
  },
  {
    key: "efficiency",
    title: gettext("Efficiency"),
    unit: "%",
    digits: 0,
    lines: [{ point: "efficiency", label: gettext("Efficiency"), colour: "--line-1" }],
    range: percent,
  },
];
