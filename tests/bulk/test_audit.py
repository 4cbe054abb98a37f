"""Photos to check are drawn, and counts have intervals that contain the truth."""

import csv
import json

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from scipy.stats import norm

from benchmarks import audit as simulation
from birds import drawn
from fieldmark.bulk.audit.allocation import allocate
from fieldmark.bulk.audit.answers import AuditError
from fieldmark.bulk.audit.checks import read_checks
from fieldmark.bulk.audit.intervals import Estimate
from fieldmark.bulk.audit.population import Population
from fieldmark.bulk.results import Results
from tests.browser import run_browser
from tests.bulk.sample_results import LABELS, write_sample_results
from tests.command_line import run_command

OTHER = "other: Snow Inkling"


@pytest.fixture
def results(tmp_path):
    return Results(write_sample_results(tmp_path / "results", 600))


def true_species(path: str) -> str:
    """Return the species of a sample photo; every 37th is none of the model's, every 41st none."""
    number = int(path.split("/")[-1].removesuffix(".jpg"))
    if number % 37 == 0:
        return OTHER
    return "none" if number % 41 == 0 else LABELS[number % len(LABELS)]["label"]


def read_rows(file) -> list[dict]:
    with file.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def write_rows(file, rows: list[dict]):
    with file.open("w", encoding="utf-8", newline="") as text:
        writer = csv.DictWriter(text, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def fill_in(file, count: int | None = None):
    rows = read_rows(file)
    for row in rows[:count]:
        row["species"] = true_species(row["path"])
    write_rows(file, rows)


def normal_interval(strata, checked) -> tuple[np.ndarray, np.ndarray]:
    """Return the textbook interval of the difference estimator, whose variances may be zero."""
    low, high = np.zeros((2, checked.truth.shape[1]))
    for stratum, size in enumerate(strata.sizes):
        rows = checked.stratum == stratum
        error = checked.truth[rows] - checked.probability[rows]
        low += strata.expected[stratum] + size * error.mean(0)
        high += size**2 * (1 - rows.sum() / size) * error.var(0, ddof=1) / rows.sum()
    half = norm.ppf(0.975) * np.sqrt(high)
    return low - half, low + half


def test_intervals_cover_where_plain_counts_and_normal_intervals_do_not():
    population = simulation.simulate("unknown species")
    generator = np.random.default_rng(3)
    counts = np.bincount(population.truth)
    present = counts > 0
    hits, normal_hits = [], []
    for _ in range(100):
        checked = simulation.draw_checks(population, 200, generator)
        low, high = Estimate(population.strata, checked).interval()
        hits.append((low <= counts) & (counts <= high))
        low, high = normal_interval(population.strata, checked)
        normal_hits.append((low <= counts) & (counts <= high))
    coverage, normal_coverage = np.mean(hits, 0)[present], np.mean(normal_hits, 0)[present]
    assert coverage.mean() >= 0.97
    assert coverage.min() >= 0.88  # 100 draws of 95 %, four standard errors
    assert normal_coverage.mean() < 0.9
    assert normal_coverage.min() < 0.75
    model_counts = population.strata.expected.sum(0)[present]
    assert (np.abs(model_counts / counts[present] - 1) > 0.02).mean() > 0.8


def test_intervals_are_narrower_than_those_of_the_audit_alone():
    measured = simulation.measure(simulation.simulate("calibrated"), 20)
    ratio = measured.widths.mean(0) / measured.wilson_widths.mean(0)
    assert ratio.max() < 0.9
    assert ratio[measured.share > 0.1].max() < 0.4


def test_an_allocation_adds_up_and_respects_its_bounds():
    sizes = np.array([1000, 1000, 3, 50])
    photos = allocate(sizes, np.array([0.1, 0.4, 0.5, 0.5]), 100, np.array([2, 2, 2, 2]))
    assert photos.sum() == 100
    assert (photos <= sizes).all()
    assert photos.min() >= 2
    assert photos[1] == pytest.approx(4 * photos[0], abs=2)


def test_a_later_draw_adds_to_an_earlier_one(results, tmp_path):
    file = tmp_path / "checks.csv"
    assert run_command("audit", results.folder, "--draw", 80, "--out", file).exit_code == 0
    first = read_rows(file)
    assert len({row["path"] for row in first}) == len(first) == 80
    population = Population(results)
    sizes = dict(zip(population.names, population.strata.sizes, strict=True))
    for name, size in sizes.items():
        drawn_of_stratum = [row for row in first if row["stratum"] == name]
        assert len(drawn_of_stratum) >= 2
        assert float(drawn_of_stratum[0]["inclusion"]) == pytest.approx(
            len(drawn_of_stratum) / size, rel=1e-4
        )
    again = tmp_path / "again.csv"
    run_command("audit", results.folder, "--draw", 80, "--out", again)
    assert again.read_bytes() == file.read_bytes()
    refused = run_command("audit", results.folder, "--draw", 80, "--out", file)
    assert refused.exit_code == 2
    assert "--checked" in refused.stderr
    fill_in(file, 60)
    done = run_command("audit", results.folder, "--checked", file, "--draw", 50)
    assert done.exit_code == 0, done.stderr
    second = read_rows(file)
    assert len(second) == len({row["path"] for row in second}) == 110
    assert [row["path"] for row in second[:60]] == [row["path"] for row in first[:60]]
    assert all(row["species"] for row in second[:60])
    assert not any(row["species"] for row in second[60:])


def test_counts_contain_the_truth_and_say_what_more_checks_bring(results, tmp_path):
    file, out = tmp_path / "checks.csv", tmp_path / "counts.csv"
    run_command("audit", results.folder, "--draw", 120, "--out", file)
    fill_in(file, 100)
    arguments = ("audit", results.folder, "--checked", file, "--out", out)
    done = run_command(*arguments, "--width", 0.15)
    assert done.exit_code == 0, done.stderr
    assert "100 of 588 photos are checked, 20 blank" in done.stdout
    assert "12 photos could not be read" in done.stdout
    rows = {row["species"]: row for row in read_rows(out)}
    truth = [true_species(path) for path in Population(results).paths]
    for label in [*(card["label"] for card in LABELS), "Snow Inkling"]:
        if label in rows:
            count = truth.count(label if label != "Snow Inkling" else OTHER)
            assert float(rows[label]["low"]) <= count <= float(rows[label]["high"])
    some = rows["Rusty Inkling"]
    assert int(some["more_checks"]) > 0
    run_command("audit", results.folder, "--checked", file, "--species", "rusty inkling",
                "--draw", some["more_checks"])  # fmt: skip
    fill_in(file)
    run_command(*arguments, "--width", 0.15)
    narrower = next(row for row in read_rows(out) if row["species"] == "Rusty Inkling")
    width = float(narrower["high"]) - float(narrower["low"])
    assert width < 0.25 * float(narrower["count"])
    assert width < float(some["high"]) - float(some["low"])


def test_counts_are_exact_when_every_photo_is_checked(results, tmp_path):
    file, out = tmp_path / "checks.csv", tmp_path / "counts.csv"
    run_command("audit", results.folder, "--draw", 588, "--out", file)
    fill_in(file)
    run_command("audit", results.folder, "--checked", file, "--out", out)
    truth = [true_species(row["path"]) for row in read_rows(file)]
    for row in read_rows(out):
        ends = {float(row[key]) for key in ("count", "low", "high", "seen")}
        assert len(ends) == 1, row
        assert row["more_checks"] == "0"
        if row["scientific_name"]:
            assert ends == {truth.count(row["species"])}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"species": "Ruby caped Inkling"}, "Did you mean Ruby capped Inkling?"),
        ({"species": "other: Night Inkling"}, "the model knows Night Inkling"),
        ({"path": "elsewhere/1.jpg"}, "line 3: elsewhere/1.jpg is no photo of these results"),
        ({"path": None}, "is in line 2 too"),
    ],
)
def test_mistakes_in_a_table_are_named_with_their_line(results, tmp_path, change, message):
    file = tmp_path / "checks.csv"
    run_command("audit", results.folder, "--draw", 80, "--out", file)
    rows = read_rows(file)
    rows[1] |= change if change != {"path": None} else {"path": rows[0]["path"]}
    write_rows(file, rows)
    with pytest.raises(AuditError, match="line 3") as error:
        read_checks(file, Population(results))
    assert message in str(error.value)


def test_a_table_that_leaves_a_stratum_out_is_refused(results, tmp_path):
    file = tmp_path / "checks.csv"
    run_command("audit", results.folder, "--draw", 80, "--out", file)
    fill_in(file, 3)
    done = run_command("audit", results.folder, "--checked", file)
    assert done.exit_code == 2
    assert "Fill in the column species from the top" in done.stderr


@pytest.mark.browser
def test_a_page_checks_photos_by_keyboard_and_saves_the_table(results, tmp_path):
    photo = drawn.encode_photo(drawn.draw_bird("Rusty_Inkling", 1, 640, 480))
    for path in Population(results).paths:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(photo)
    table, page = tmp_path / "checks.csv", tmp_path / "checks.html"
    run_command("audit", results.folder, "--draw", 70, "--out", table, "--page", page)
    assert "http" not in page.read_text(encoding="utf-8").replace('"http', "")
    with run_browser() as browser:
        tab = browser.new_page()
        errors, requests = [], []
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(page.as_uri())
        assert tab.evaluate("document.getElementById('crop').naturalWidth") == 320
        violations = Axe().run(tab).response["violations"]
        assert not violations, json.dumps(violations, indent=1)[:2000]
        data = json.loads(tab.locator("#data").text_content())
        tab.keyboard.press("1")
        tab.keyboard.press("0")
        tab.keyboard.press("/")
        tab.keyboard.type('Snow, "Inkling"')
        tab.keyboard.press("Enter")
        tab.locator("#suggestions button").nth(1).click()
        with tab.expect_download() as download:
            tab.locator("#save").click()
        saved = tmp_path / "saved.csv"
        download.value.save_as(saved)
        tab.reload()
        assert "Photo 5 of 70" in tab.locator("h1").text_content()
        tab.close()
    assert not errors
    assert all(url.startswith(("file:", "data:", "blob:")) for url in requests)
    checks = read_checks(saved, Population(results))
    answers = [check.species.answer if check.species else "" for check in checks]
    assert answers[:5] == [
        data["photos"][0]["suggestions"][0][0],
        "none",
        'other: Snow, "Inkling"',
        data["photos"][3]["suggestions"][1][0],
        "",
    ]
    assert [row["path"] for row in read_rows(saved)] == [row["path"] for row in read_rows(table)]
