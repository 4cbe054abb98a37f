"""The report shows what the results hold, on one page that needs nothing else."""

import csv
import json
import re
from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from axe_playwright_python.sync_playwright import Axe

from birds import drawn
from fieldmark.bulk.audit.population import Population
from fieldmark.bulk.report.activity import chart_days
from fieldmark.bulk.report.tables import summarize
from fieldmark.bulk.results import Results
from fieldmark.bulk.rows import SCHEMA
from tests.browser import run_browser
from tests.bulk.sample_results import write_sample_results
from tests.command_line import run_command

HOSTILE = "photos/<script>alert(1)</script>&\"'.jpg"


@pytest.fixture
def results(tmp_path):
    """Return results of 200 photos of which those of camera0 exist, and one with a hostile name."""
    folder = write_sample_results(tmp_path / "results", 200)
    row = pq.read_table(folder / "photos/part-000000.parquet").to_pylist()[0]
    row |= {"path": HOSTILE, "camera": "<b>Camera</b>", "unknown_score": 5.0}
    row |= {"error": None, "taken": datetime(2026, 7, 1, 23, 59)}
    pq.write_table(pa.Table.from_pylist([row], SCHEMA), folder / "photos/part-000002.parquet")
    opened = Results(folder)
    photo = drawn.encode_photo(drawn.draw_bird("Night_Inkling", 1, 640, 480))
    for path in opened.read_table(["path"])["path"].to_pylist():
        if "camera0" in path:
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(photo)
    return opened


def test_the_summary_counts_each_row_once(results):
    summary = summarize(results)
    table = results.read_table().to_pandas()
    read = table[table["error"].isna()]
    known = read[read["kind"] != "unknown"]
    assert summary.photos == len(table) == 201
    assert summary.errors.total() == table["error"].notna().sum() == 4
    assert dict(summary.kinds) == read["kind"].value_counts().to_dict()
    assert dict(summary.labels) == known["label"].value_counts().to_dict()
    assert summary.hours[23] == (known["taken"].dt.hour == 23).sum()
    assert set(summary.months) == {5, 7}
    assert summary.strangest[0].path == HOSTILE
    label, most = next(iter(summary.most_certain_of.items()))
    of_label = known[known["label"] == label]["probability"]
    assert most[0].probability == pytest.approx(of_label.max())
    assert summary.least_certain_of[label][0].probability == pytest.approx(of_label.min())
    chart = chart_days(summary.days)
    assert len(chart.bars) == 62
    assert "1 photo" in chart.bars[-1].title


def test_the_report_is_one_page_that_escapes_names(results, tmp_path):
    out = tmp_path / "report.html"
    done = run_command("report", results.folder, "--out", out)
    assert done.exit_code == 0, done.stderr
    page = out.read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "<b>Camera" not in page
    assert "This photo is no longer where it was." in page
    assert page.count('src="data:image/jpeg;base64,') > 10
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert "fieldmark audit" in page


def test_the_report_of_results_without_times_says_so(tmp_path):
    folder = write_sample_results(tmp_path / "results", 20)
    for file in (folder / "photos").iterdir():
        table = pq.read_table(file)
        rows = [row | {"taken": None, "camera": None} for row in table.to_pylist()]
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), file)
    run_command("report", folder, "--out", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "The results have no times" in page
    assert "By camera" not in page


@pytest.mark.browser
def test_the_report_is_accessible_and_fits_a_phone(results, tmp_path):
    table, out = tmp_path / "checks.csv", tmp_path / "report.html"
    run_command("audit", results.folder, "--draw", 60, "--out", table)
    labels = dict(zip(*names_of(results), strict=True))
    with table.open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    with table.open("w", encoding="utf-8", newline="") as text:
        writer = csv.DictWriter(text, rows[0])
        writer.writeheader()
        writer.writerows(row | {"species": labels[row["path"]]} for row in rows)
    done = run_command("report", results.folder, "--checked", table, "--out", out)
    assert done.exit_code == 0, done.stderr
    with run_browser() as browser:
        for width, scheme in ((390, "light"), (1200, "dark")):
            page = browser.new_page(
                viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True
            )
            requests = []
            page.on("request", lambda request, seen=requests: seen.append(request.url))
            page.goto(out.as_uri())
            assert page.evaluate("document.scrollingElement.scrollWidth") == width
            assert page.locator("th", has_text="95 % interval").count() == 1
            violations = Axe().run(page).response["violations"]
            assert not violations, json.dumps(violations, indent=1)[:2000]
            assert all(url.startswith(("file:", "data:")) for url in requests)
            page.close()


def names_of(results: Results) -> tuple[list[str], list[str]]:
    """Return paths and the model's labels, as if a person agreed with all of them."""
    population = Population(results)
    return population.paths, [population.labels[number] for number in population.label]
