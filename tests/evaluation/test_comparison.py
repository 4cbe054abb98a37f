"""Runs are compared on the same photos, and chance differences are not significant."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from safetensors.numpy import save_file

from birds import drawn
from fieldmark.evaluation.comparison import plots
from fieldmark.evaluation.comparison.pairs import compare_classes, compare_pair, compare_pairs
from fieldmark.evaluation.comparison.report import FIGURES
from fieldmark.evaluation.comparison.tables import format_duration, format_runs, summarise_runs
from fieldmark.evaluation.latency import measure_latency
from fieldmark.files import read_json, write_json
from fieldmark.run import Run
from fieldmark.statistics import mcnemar_test, paired_difference_interval
from tests.command_line import run_command

SPECIES = [name.replace("_", " ") for name in drawn.SPECIES]
N = 60


@pytest.fixture
def write_run(tmp_path, run):
    """Return a function that writes a run's folder with N photos, some of them `wrong`."""

    def write(name, wrong=(), labels=SPECIES, first=0, train=(), truth=None, ms=1.0, **card):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        shutil.copy(run / "birds.onnx", folder)
        card |= {"schema": 2, "architecture": "tiny"}
        card |= {"labels": [{"label": label} for label in labels]}
        weights = {"0.weight": np.ones((2, 3), np.float32)}
        save_file(weights, folder / "birds.safetensors", {"card": json.dumps(card)})
        numbers = range(first, first + N)
        table = pd.DataFrame({"path": [f"{number:03}.jpg" for number in numbers]})
        table["label"] = truth or [labels[number % len(labels)] for number in numbers]
        table["predicted"] = table["label"].mask(table.index.isin(list(wrong)), "wrong")
        split = table[["path", "label"]].assign(split="calibration")
        split.loc[list(train), "split"] = "train"
        split.to_csv(folder / "split.csv", index=False)
        table = table.drop(index=list(train))
        table.to_csv(folder / "predictions.csv", index=False)
        accuracy = (table["label"] == table["predicted"]).mean()
        metric = {"value": round(accuracy, 4), "interval": [accuracy - 0.05, accuracy]}
        metric["n"] = len(table)
        write_json(folder / "metrics.json", {"accuracy": metric, "macro_f1": metric})
        history = {
            "phase": ["frozen", "fine-tuning", "fine-tuning"],
            "epoch": [1, 1, 2],
            "train_loss": [3.0, 2.0, 1.0],
            "valid_loss": [3.5, 1.5, 2.5],
            "accuracy": [0.2, 0.7, 0.6],
            "seconds": [ms, 2 * ms, 3 * ms],
        }
        pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
        return folder

    return write


@pytest.fixture
def compare(monkeypatch, tmp_path):
    """Return a function that runs `fieldmark compare`: exit status, output, errors."""
    monkeypatch.chdir(tmp_path)

    def run_compare(*arguments):
        result = run_command("compare", *arguments)
        return result.exit_code, result.stdout, result.stderr

    return run_compare


def table_rows(page: str) -> list[list[str]]:
    """Return the cells of the rows of all Markdown tables of a page."""
    lines = [line for line in page.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_only_photos_that_one_run_alone_named_correctly_count(write_run):
    both = {0, 1, 2}
    first = write_run("first", wrong=both | {10})
    second = write_run("second", wrong=both | set(range(20, 29)))
    pairs, not_compared = compare_pairs(Run.open_all([second, first]))
    row = pairs.iloc[0]
    assert (row["first"], row["second"]) == ("first", "second")
    assert (row["n"], row["only_first"], row["only_second"]) == (N, 9, 1)
    assert row["p"] == mcnemar_test(9, 1) == pytest.approx(22 / 1024)
    assert row["points"] == pytest.approx(100 * 8 / N)
    interval = [100 * end for end in paired_difference_interval(9, 1, N)]
    assert row[["low", "high"]].tolist() == pytest.approx(interval)
    assert row["adjusted"] == row["p"]
    assert row["significant"]
    assert not_compared.empty


def test_runs_with_the_same_mistakes_do_not_differ(write_run, compare):
    folders = [write_run(name, wrong={1, 2}) for name in "ab"]
    pairs, _ = compare_pairs(Run.open_all(folders))
    assert (pairs.loc[0, "p"], pairs.loc[0, "points"]) == (1, 0)
    assert not pairs.loc[0, "significant"]
    _, page, _ = compare(*folders, "--no-speed")
    assert "0 of 6 species differ" in page
    assert "figures/classes.png" not in page


def test_a_difference_may_be_significant_alone_and_not_among_many_tests(write_run, compare):
    folders = [
        write_run("a", wrong={10}),
        write_run("b", wrong=set(range(20, 29))),
        write_run("c", wrong={10, 11}),
    ]
    status, page, _ = compare(*folders[:2], "--no-speed")
    assert status == 0
    (row,) = (row for row in table_rows(page) if row[:2] == ["a", "b"])
    assert row[2].startswith("13.33 (")
    assert row[-3:] == ["0.021", "0.021", "yes"]
    _, page, _ = compare(*folders, "--no-speed")
    (row,) = (row for row in table_rows(page) if row[:2] == ["a", "b"])
    assert row[-3:] == ["0.021", "0.064", "no"]


def test_a_training_photo_of_one_run_does_not_count(write_run):
    first = write_run("first", train={0, 1, 2, 3})
    second = write_run("second", wrong={0, 1, 2, 3, 4})
    row = compare_pair(*Run.open_all([first, second]))
    assert (row["n"], row["only_first"], row["only_second"]) == (N - 4, 1, 0)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"labels": [*SPECIES[:5], "Dodo"]}, "different species"),
        ({"first": 31}, "only 29 of 60 photos"),
        ({"first": 20, "train": range(21)}, "only 19 of 39 photos"),
        ({"truth": [SPECIES[1], *SPECIES[1:]] * 10}, "different labels"),
    ],
    ids=["labels", "split", "training photos", "other photos"],
)
def test_runs_that_share_too_little_are_listed_and_not_tested(write_run, compare, other, why):
    one = write_run("one", wrong={1})
    two = write_run("two", wrong=range(30), **other)
    status, page, _ = compare(one, two, "--no-speed")
    assert status == 0
    (line,) = (line for line in page.splitlines() if "one and two" in line)
    assert why in line
    rows = [row for row in table_rows(page) if row[0] == "one"]
    assert [row[1:5] for row in rows] == [["tiny", "6 species", "98.3 (93.3 to 98.3)", "60"]]


def test_half_of_the_photos_are_enough(write_run):
    runs = Run.open_all([write_run("one"), write_run("two", first=30)])
    assert compare_pair(*runs)["n"] == N // 2


def test_a_species_may_be_called_na(write_run):
    labels = ["NA", *SPECIES[1:]]
    runs = Run.open_all([write_run(name, labels=labels, wrong={0}) for name in "ab"])
    assert compare_pair(*runs)["n"] == N
    assert compare_classes(*runs).set_index("label").loc["NA", "recall_first"] == 0.9


def test_recall_is_compared_per_species_with_the_largest_difference_first(write_run):
    first = write_run("first", wrong={5, 1})
    second = write_run("second", wrong={0, 6, 12, 1, 13})  # of species 0, 0, 0, 1, 1
    classes = compare_classes(*Run.open_all([first, second]))
    assert classes["label"].tolist()[:3] == [SPECIES[0], SPECIES[1], SPECIES[5]]
    assert classes["points"].tolist() == pytest.approx([30, 10, -10, 0, 0, 0])
    assert classes["n"].tolist() == [10] * 6
    (axes,) = plots.plot_class_differences(classes, "first", "second").axes
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert names == [f"{SPECIES[number]} (10)" for number in (0, 1, 5)]
    points = {line.get_label(): line.get_xdata().tolist() for line in axes.lines}
    assert points == {"first": [100, 90, 90], "second": pytest.approx([70, 80, 100])}


def test_a_species_without_evaluation_photos_has_no_recall(write_run):
    truth = [SPECIES[number % 3] for number in range(N)]
    classes = compare_classes(*Run.open_all([write_run(name, truth=truth) for name in "ab"]))
    assert classes["n"].tolist() == [20, 20, 20, 0, 0, 0]
    assert classes["recall_first"].isna().tolist() == [False] * 3 + [True] * 3


@pytest.fixture
def summary() -> pd.DataFrame:
    """Return four runs of one task, `slow` and `weak` not Pareto-optimal, and one of another."""
    rows = [
        ("fast", "6 species", 0.80, 5.0),
        ("good", "6 species", 0.90, 9.0),
        ("slow", "6 species", 0.90, 12.0),
        ("weak", "6 species", 0.70, 8.0),
        ("other", "3 species", 0.60, 99.0),
    ]
    table = pd.DataFrame(rows, columns=["run", "task", "accuracy", "ms"])
    for name, width in (("accuracy", 0.05), ("ms", 1)):
        table[f"{name}_low"], table[f"{name}_high"] = table[name] - width, table[name] + width
    return table


def test_the_pareto_front_is_that_of_each_task(summary):
    optimal = plots.is_pareto_optimal(summary)
    assert summary["run"][optimal].tolist() == ["fast", "good", "other"]
    twins = summary.iloc[[0, 0]].reset_index(drop=True)
    assert plots.is_pareto_optimal(twins).tolist() == [True, True]


def test_optimal_runs_are_filled_points_and_no_names_overlap(summary):
    figure = plots.plot_pareto(summary)
    (axes,) = figure.axes
    points = [line for line in axes.lines if line.get_marker() == "o"]
    filled = [line for line in points if line.get_markerfacecolor() != "white"]
    assert sorted(x for line in filled for x in line.get_xdata()) == [5, 9, 99]
    fronts = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
    assert [line.get_xdata().tolist() for line in fronts] == [[5, 9], [99]]
    assert {text.get_text(): text.xy for text in axes.texts} == {
        run: (ms, pytest.approx(100 * accuracy))
        for run, accuracy, ms in summary[["run", "accuracy", "ms"]].itertuples(index=False)
    }
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # without their lines
    assert not any(a.overlaps(b) for number, a in enumerate(boxes) for b in boxes[:number])
    low, high = axes.get_xlim()
    assert low < 4 < 100 < high
    assert axes.get_xscale() == "log"


def test_names_of_equal_heights_are_moved_apart_in_their_order():
    heights = plots.spread_out(np.array([0.99, 0.5, 0.99, 0.1]), 0.1)
    assert heights == pytest.approx([0.9, 0.5, 1.0, 0.1])


def test_curves_run_over_epochs_and_over_seconds(write_run):
    runs = Run.open_all([write_run("one"), write_run("two", ms=100.0)])
    figure = plots.plot_curves({run.name: run.history for run in runs})
    train_loss, _, valid_loss, _, accuracy, by_second = figure.axes
    assert train_loss.lines[0].get_ydata().tolist() == [3, 2, 1]
    lines = {line.get_label(): line for line in valid_loss.lines}
    assert lines["one"].get_xdata().tolist() == [1, 2, 3]
    assert lines["one"].get_ydata().tolist() == [3.5, 1.5, 2.5]
    seconds = [line.get_xdata().tolist() for line in by_second.lines if len(line.get_xdata()) == 3]
    assert seconds == [[1, 3, 6], [100, 300, 600]]
    rings = [line for line in accuracy.lines if line.get_marker() == "o"]
    assert [(*ring.get_xdata(), *ring.get_ydata()) for ring in rings] == [(2, 70), (2, 70)]
    assert [text.get_text() for text in figure.legends[0].texts] == ["one", "two"]


def test_training_time_is_that_of_the_card_if_it_has_one(write_run):
    folders = [write_run("a", training={"seconds": 180.0}), write_run("b", {1})]
    page = format_runs(summarise_runs(Run.open_all(folders), {}))
    assert [row[-1] for row in table_rows(page)[1:]] == ["3.0 min", "–"]
    assert format_duration(7200) == "2.0 h"


def test_all_finished_runs_are_compared_with_tables_and_figures(write_run, compare):
    one, two = write_run("one", wrong={1}), write_run("two", wrong=set(range(12)))
    (two.parent / "unfinished").mkdir()
    (two.parent / "unfinished/predictions.csv").write_text("path\n")
    (write_run("old") / "metrics.json").unlink()
    write_run("test-notebook")
    status, page, _ = compare("--rounds", "2")
    out = one.parent / "comparison"
    assert status == 0
    assert page.startswith((out / "index.md").read_text(encoding="utf-8"))
    table = pd.read_csv(out / "table.csv")
    assert table["run"].tolist() == ["one", "two"]
    assert (table["ms"] > 0).all()
    assert ((table["ms_low"] <= table["ms"]) & (table["ms"] <= table["ms_high"])).all()
    assert len(pd.read_csv(out / "classes.csv")) == 6
    assert pd.read_csv(out / "pairs.csv")["significant"].tolist() == [True]
    assert {path.stem for path in (out / "figures").iterdir()} == set(FIGURES)
    assert all(f"(figures/{name}.png)" in page for name in FIGURES)
    status, page, _ = compare(one, "--no-speed")
    assert {path.stem for path in (out / "figures").iterdir()} == {"curves"}
    assert "only one run" in page


def test_models_take_turns_and_warm_up_before_each_timing():
    calls = []

    class Recorder:
        size = 32

        def __init__(self, name):
            self.name = name

        def predict(self, photos):
            assert photos.shape == (1, self.size, self.size, 3)
            calls.append(self.name)

    times = measure_latency({"a": Recorder("a"), "b": Recorder("b")}, 2)
    assert "".join(calls) == "aabbaabb"
    assert {name: len(each) for name, each in times.items()} == {"a": 2, "b": 2}


def test_a_run_without_history_has_no_curves(write_run, compare):
    folder = write_run("one")
    (folder / "history.csv").unlink()
    status, page, _ = compare(folder, "--no-speed")
    assert status == 0
    assert "figures/" not in page


def test_an_ensemble_has_members_and_no_machine(write_run, compare):
    ensemble = {"method": "logits", "members": [{"file": "one"}, {"file": "other"}]}
    folders = [write_run("one"), write_run("both", ensemble=ensemble)]
    for folder in folders:
        write_json(folder / "environment.json", {"cpu": "Z80", "cores": 1})
    _, page, _ = compare(*folders, "--no-speed")
    assert "Trained on Z80, 1 cores: one." in page
    assert "one and other: both." in page


def spoil_metrics(folder):
    metrics = read_json(folder / "metrics.json")
    metrics["accuracy"]["value"] = 0.5
    write_json(folder / "metrics.json", metrics)


def spoil_predictions(folder):
    """Leave predictions of the same accuracy for the photos of another split."""
    table = pd.read_csv(folder / "predictions.csv")
    table.assign(path="other-" + table["path"]).to_csv(folder / "predictions.csv", index=False)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "metrics.json").unlink(), "metrics.json"),
        (shutil.rmtree, "predictions.csv"),
        (lambda folder: (folder / "birds.onnx").write_bytes(b"?"), "damaged"),
        (spoil_metrics, "metrics.json"),
        (spoil_predictions, "split.csv"),
    ],
    ids=["unfinished", "missing", "damaged", "other metrics", "another split"],
)
def test_a_folder_that_is_not_a_finished_run_is_reported(write_run, compare, spoil, message):
    folder = write_run("one")
    spoil(folder)
    status, _, errors = compare(folder, "--rounds", "1")
    assert status == 2
    assert message in errors
    assert "one" in errors


def test_runs_are_named_by_their_folders_or_paths_and_opened_once(write_run):
    folders = [write_run("a/mine"), write_run("b/mine"), write_run("a/yours")]
    names = [run.name for run in Run.open_all([*folders, folders[0]])]
    assert names == [*(folder.as_posix() for folder in folders[:2]), "yours"]


@pytest.mark.parametrize(
    ("arguments", "message"), [([], "no finished run"), (["--rounds", "0"], "--rounds")]
)
def test_nothing_to_compare_is_reported(compare, arguments, message):
    status, _, errors = compare(*arguments)
    assert status == 2
    assert message in errors
