"""Plots as SVG files: small, and the same for the same figures, so that a diff shows what has changed.

They need matplotlib (the extra ``bench``), which is loaded when one is drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

_STYLE: dict[Any, Any] = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "grid.alpha": 0.3,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "mjbulk",  # names within the file are the same each time
}


Style = Literal["line", "dashed", "computed", "points"]
"""A line through what was measured, or a dashed one; a line without marks, for what was computed; marks alone."""
_STYLES: Mapping[Style, Mapping[str, str]] = {
    "line": {"linestyle": "-", "marker": "o"},
    "dashed": {"linestyle": "--", "marker": "o"},
    "computed": {"linestyle": "-"},
    "points": {"linestyle": "none", "marker": "x", "color": "black"},
}


@dataclass(frozen=True)
class Line:
    """A line of a plot: for each x all values that were measured, of which the median is drawn."""

    name: str
    x: Sequence[float]
    y: Sequence[Sequence[float]]
    style: Style = "line"


@dataclass(frozen=True)
class Plot:
    """A plot, and the name of its file."""

    file: str
    title: str
    x_name: str
    y_name: str
    lines: Sequence[Line]
    base: int = 10
    """The base of the logarithms of x; 0 for x as it is."""
    log_y: bool = False


def draw(plot: Plot, folder: Path) -> Path:
    """Write a plot into its file. Raises ImportError without matplotlib."""
    from matplotlib import rc_context  # noqa: PLC0415  # of an extra
    from matplotlib.figure import Figure  # noqa: PLC0415

    with rc_context(_STYLE):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.add_subplot(title=plot.title, xlabel=plot.x_name, ylabel=plot.y_name)
        _scale(axes, plot)
        for line in plot.lines:
            _add(axes, line)
        if not plot.log_y:
            axes.set_ylim(bottom=0)
        axes.legend(fontsize="small")
        path = folder / plot.file
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    text = path.read_text(encoding="utf-8")
    path.write_text("".join(f"{kept.rstrip()}\n" for kept in text.splitlines()), encoding="utf-8")
    return path


def _scale(axes: Any, plot: Plot) -> None:
    """Set the axes. A logarithm gets marks at its powers alone: others would be most of the file."""
    from matplotlib.ticker import FuncFormatter, NullLocator  # noqa: PLC0415

    if plot.base:
        axes.set_xscale("log", base=plot.base)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    if plot.log_y:
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def _add(axes: Any, line: Line) -> None:
    middle = [median(values) for values in line.y]
    (drawn,) = axes.plot(line.x, middle, label=line.name, markersize=4, **_STYLES[line.style])
    if any(len(values) > 1 for values in line.y):
        least, most = [min(values) for values in line.y], [max(values) for values in line.y]
        axes.fill_between(line.x, least, most, color=drawn.get_color(), alpha=0.15, linewidth=0)
