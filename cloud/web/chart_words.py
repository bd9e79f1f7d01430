"""Charts in words: which there are, what their lines are called, in which units their tables speak.

The browser's ``chart_plots.ts`` draws the same ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cloud.core.language import N_, gettext
from cloud.services.charting import TableRow
from cloud.web.wording import number, span


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart."""

    point: str
    english: str

    @property
    def label(self) -> str:
        """What it is called in the language that is spoken."""
        return gettext(self.english)


@dataclass(frozen=True, slots=True)
class ChartWords:
    """One chart; ``digits`` behind the point in its table, ``unit`` "s" is told as a span of time."""

    key: str
    english: str
    unit: str
    digits: int
    lines: tuple[Line, ...]

    @property
    def title(self) -> str:
        """What it is called in the language that is spoken."""
        return gettext(self.english)


CHARTS: Final[Sequence[ChartWords]] = (
    ChartWords(
        "voltage",
        N_("Voltage"),
        "V",
        1,
        (Line("input_voltage", N_("Mains")), Line("output_voltage", N_("Output"))),
    ),
    ChartWords("load", N_("Load"), "%", 1, (Line("output_real_power_pct", N_("Load")),)),
    ChartWords("charge", N_("Battery charge"), "%", 1, (Line("state_of_charge", N_("Charge")),)),
    ChartWords("runtime", N_("Runtime left"), "s", 0, (Line("runtime_remaining", N_("Runtime left")),)),
    ChartWords(
        "temperature",
        N_("Battery temperature"),
        "°C",
        1,
        (Line("battery_temperature", N_("Temperature")),),
    ),
    ChartWords("battery_voltage", N_("Battery voltage"), "V", 1, (Line("battery_voltage", N_("Battery")),)),
    ChartWords("frequency", N_("Frequency"), "Hz", 1, (Line("output_frequency", N_("Output")),)),
    ChartWords("current", N_("Current"), "A", 1, (Line("output_current", N_("Output")),)),
    ChartWords("efficiency", N_("Efficiency"), "%", 1, (Line("efficiency", N_("Efficiency")),)),
)
BY_KEY: Final = {chart.key: chart for chart in CHARTS}
DEFAULT: Final = ("voltage", "load", "charge")
"""What a page shows until somebody picks otherwise."""


def picked(keys: Sequence[str]) -> list[ChartWords]:
    """The charts of these names in the order of the table, unknown names left out; the usual ones of none."""
    wanted = {key for key in keys if key in BY_KEY} or set(DEFAULT)
    return [chart for chart in CHARTS if chart.key in wanted]


def points_of(charts: Sequence[ChartWords]) -> tuple[str, ...]:
    """Measurement points of some charts, each once."""
    return tuple(dict.fromkeys(line.point for chart in charts for line in chart.lines))


@dataclass(frozen=True, slots=True)
class TableLine:
    """A row as a page shows it; ``cells`` is empty where nothing was received."""

    ts_ms: int
    on_battery: bool
    cells: tuple[str, ...]


def table_lines(chart: ChartWords, points: Sequence[str], rows: Sequence[TableRow]) -> list[TableLine]:
    """The columns of one chart of a table of these points."""
    places = [points.index(line.point) for line in chart.lines]
    return [
        TableLine(
            row.ts_ms,
            row.on_battery,
            () if row.values is None else tuple(_cell(chart, *row.values[place]) for place in places),
        )
        for row in rows
    ]


def _cell(chart: ChartWords, mean: float | None, low: float | None, high: float | None) -> str:
    """``231.4``, or ``231.4 (228.9–233.0)`` where it was not always the same."""
    text = _text(chart, mean)
    if mean is None or low is None or high is None:
        return text
    edges = (_text(chart, low), _text(chart, high))
    return text if edges[0] == edges[1] else f"{text} ({edges[0]}–{edges[1]})"


def _text(chart: ChartWords, value: float | None) -> str:
    if chart.unit == "s" and value is not None:
        return span(value)
    return number(value, digits=chart.digits)
