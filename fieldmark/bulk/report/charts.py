"""Draw bars as inline SVG."""

from typing import NamedTuple

WIDTH, WIDE = 460, 960  # the units are about pixels on a screen
HEIGHT, FOOT, TOP = 150, 22, 16
MAX_STEP = 48
MAX_BARS = 120  # days; more are joined to weeks or longer


class Bar(NamedTuple):
    """A bar of a chart, in units of the SVG, with what it means."""

    x: float
    y: float
    width: float
    height: float
    title: str


class Tick(NamedTuple):
    """A text below the bars."""

    x: float
    text: str


class Chart(NamedTuple):
    """Bars of one series, to be drawn by the template; `summary` says it in words."""

    width: int
    height: int
    baseline: int
    bars: list[Bar]
    ticks: list[Tick]
    most: int
    summary: str


def draw_bars(
    names: list[str], counts: list[int], ticks: dict[int, str], what: str, width: int = WIDTH
) -> Chart:
    """Return a chart of counts; `ticks` are texts below some of the bars, by their number."""
    most = max([*counts, 1])
    step = min(width / max(len(counts), 1), MAX_STEP)
    space = HEIGHT - FOOT - TOP
    gap = min(3.0, 0.25 * step)
    bars = []
    for number, (name, count) in enumerate(zip(names, counts, strict=True)):
        height = max(space * count / most, 1.5) if count else 0
        x, y = number * step + gap / 2, HEIGHT - FOOT - height
        title = f"{name}: {count:,} photo{'' if count == 1 else 's'}"
        bars.append(Bar(round(x, 1), round(y, 1), round(step - gap, 1), round(height, 1), title))
    places = [Tick(round((number + 0.5) * step, 1), text) for number, text in ticks.items()]
    peak = names[counts.index(most)] if most in counts else ""
    summary = f"Photos by {what}; most, {most:,}, at {peak}." if peak else f"No photos by {what}."
    return Chart(width, HEIGHT, HEIGHT - FOOT, bars, places, most, summary)
