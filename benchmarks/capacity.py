"""Write docs/capacity.md: what one instance does, what a load needs and costs, and what breaks.

    make .venv/bulk                           # SimPy is in the extra test-bulk
    python -m benchmarks.capacity             # from the committed results
    python -m benchmarks.capacity --measure   # measure first: 3 minutes, on a quiet machine

Linux, with two cores or more.
"""

from typing import Annotated

import typer

from benchmarks import burst_plot, capacity_document, instance, results, scenarios


def main(
    measure: Annotated[bool, typer.Option(help="Measure and simulate, and save both.")] = False,
    rounds: Annotated[int, typer.Option(help="Rounds to measure, each with a new server.")] = 5,
    seconds: Annotated[float, typer.Option(help="Seconds of each load.")] = 2,
) -> None:
    """Write the document and its picture, and the tables of docs/benchmarks.md."""
    if measure:
        instance.measure(rounds, seconds, save=True)
        scenarios.report_bursts(results.load_results())
    page = results.DOCS / "capacity.md"
    text = capacity_document.write_document(results.load_results())
    page.write_text(text, encoding="utf-8")
    burst_plot.draw_bursts(results.load_results(), results.DOCS / "capacity.svg")
    results.main()


if __name__ == "__main__":
    typer.run(main)
