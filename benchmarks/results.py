"""Keep what benchmarks measured in docs/results, and write it into docs/benchmarks.md.

    python -m benchmarks.results

A result is a JSON file: a table, and the command, machine and date that it comes from. Running this
module replaces each block `<!-- result NAME -->...<!-- end -->` of the document with the table of
docs/results/NAME.json. A test fails while the two differ.
"""

import json
import platform
import re
from datetime import date
from pathlib import Path

from tabulate import tabulate

from birds import cpus

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"(<!-- result ([a-z-]+) -->\n).*?(?=<!-- end -->)", re.DOTALL)


def save_result(path: Path, command: str, columns: list[str], rows: list[list[str]]) -> dict:
    """Write a table of formatted cells as a result file, and return it."""
    machine = f"{cpus.count()} CPUs, {platform.machine()} {platform.system()}"
    result = {"command": command, "machine": machine, "date": str(date.today())}
    result |= {"columns": columns, "rows": rows}
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return result


def load_results() -> dict[str, dict]:
    """Return all results by name."""
    files = sorted((DOCS / "results").glob("*.json"))
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}


def to_markdown(result: dict) -> str:
    """Return a result as a Markdown table below its command, machine and date."""
    source = f"`{result['command']}`; {result['machine']}; {result['date']}\n\n"
    table = tabulate(result["rows"], result["columns"], "pipe", disable_numparse=True)
    return source + table + "\n"


def fill_blocks(text: str, results: dict[str, dict]) -> str:
    """Return a document with each block replaced by its result."""
    return BLOCK.sub(lambda match: match[1] + to_markdown(results[match[2]]), text)


def main() -> None:
    """Rewrite the tables of docs/benchmarks.md."""
    page = DOCS / "benchmarks.md"
    page.write_text(fill_blocks(page.read_text(encoding="utf-8"), load_results()), encoding="utf-8")


if __name__ == "__main__":
    main()
