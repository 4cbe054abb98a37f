"""Print what a benchmark measured, keep it in docs/results, and write it into docs/benchmarks.md.

    python -m benchmarks.results

A result is a JSON file: a table, and the command, machine and date that it comes from. Running this
module replaces each block `<!-- result NAME -->...<!-- end -->` of the document with the table of
docs/results/NAME.json. A test fails while the two differ.
"""

import json
import platform
import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from tabulate import tabulate

from birds.process import cpu_count
from fieldmark.environment import cpu_name

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"(<!-- result ([a-z-]+) -->\n).*?(?=<!-- end -->)", re.DOTALL)
FIGURE = ("", "value (95 % interval)", "n")  # the columns of a table of figures
MODEL = Path("azure_function/model")
RunFolder = Annotated[Path, typer.Argument(help="Folder of a run.")]
Save = Annotated[bool, typer.Option("--save", help="Write the result files in docs/results.")]


def report(
    name: str, command: str, columns: Sequence[str], rows: list[list[str]], save: bool
) -> None:
    """Print a table of formatted cells as Markdown; with `save`, write docs/results/NAME.json."""
    machine = f"{cpu_count()} CPUs, {cpu_name()}, {platform.system()}"
    result = {"command": command, "machine": machine, "date": str(date.today())}
    result |= {"columns": columns, "rows": rows}
    typer.echo(to_markdown(result))
    if save:
        text = json.dumps(result, indent=1, ensure_ascii=False)
        (DOCS / f"results/{name}.json").write_text(f"{text}\n", encoding="utf-8")


def percent(figure: dict) -> str:
    """Format a proportion and its interval, as fieldmark.statistics returns them."""
    return number(figure, 1, 100, " %")


def number(figure: dict, digits: int = 3, factor: float = 1, unit: str = "") -> str:
    """Format a figure and its interval, both multiplied by a factor."""
    ends = (factor * end + 0.0 for end in (figure["value"], *figure["interval"]))  # no -0.0
    value, low, high = (f"{end:.{digits}f}{unit}" for end in ends)
    return f"{value} ({low} to {high})"


def load_results() -> dict[str, dict]:
    """Return all results by name."""
    files = sorted((DOCS / "results").glob("*.json"))
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}


def to_markdown(result: dict) -> str:
    """Return a result as a Markdown table below its command, machine and date."""
    source = f"`{result['command']}`; {result['machine']}; {result['date']}\n\n"
    table = tabulate(result["rows"], result["columns"], "pipe", disable_numparse=True)
    return f"{source}{table}\n"


def fill_blocks(text: str, results: dict[str, dict]) -> str:
    """Return a document with each block replaced by its result."""
    return BLOCK.sub(lambda match: match[1] + to_markdown(results[match[2]]), text)


def main() -> None:
    """Rewrite the tables of docs/benchmarks.md."""
    page = DOCS / "benchmarks.md"
    page.write_text(fill_blocks(page.read_text(encoding="utf-8"), load_results()), encoding="utf-8")


if __name__ == "__main__":
    main()
