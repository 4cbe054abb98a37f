"""Draw docs/capacity.svg: how long visitors of a burst wait, and how many instances run."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from benchmarks import burst
from benchmarks.flex_consumption import MAXIMUM_INSTANCES
from benchmarks.scenarios import NAMED, VISITORS, Results, simulate

LINES = {  # a scenario -> its line
    "as deployed": {"color": "#b03a2e", "linestyle": "-"},
    "1 instance always ready": {"color": "#1f618d", "linestyle": "--"},
    "5 always ready, at most 40": {"color": "#1e8449", "linestyle": "-."},
}
STEP = 2  # seconds
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "burst",
    "font.size": 9,
}  # a fixed salt: the same file each time


def median_waits(done: burst.Burst) -> tuple[list[float], list[float]]:
    """Return moments at which photos were picked, and the median seconds until their answers."""
    moments, medians = [], []
    for start in range(0, burst.MINUTE, STEP):
        waits = done.waits(start, start + STEP)
        if len(waits):
            moments.append(start + STEP / 2)
            medians.append(float(np.median(waits)))
    return moments, medians


def draw_bursts(results: Results, path: Path) -> None:
    """Simulate the scenarios of LINES and draw them."""
    with mpl.rc_context(STYLE):
        figure = Figure((7, 3), layout="constrained")
        waits, counts = figure.subplots(1, 2)
        for name, line in LINES.items():
            [done] = simulate(results, VISITORS, [0], **NAMED[name])
            waits.plot(*median_waits(done), label=name, **line)
            counts.step(range(len(done.instances)), done.instances, where="post", **line)
        waits.set(
            xlabel="second in which a photo is picked", ylabel="median wait, s", ylim=(0, None)
        )
        counts.axhline(MAXIMUM_INSTANCES, color="0.8", linewidth=0.8, zorder=0)
        counts.set(xlabel="second", ylabel="instances", ylim=(0, None))
        figure.legend(loc="outside upper center", ncols=len(LINES), frameon=False)
        figure.savefig(path, metadata={"Date": None})
