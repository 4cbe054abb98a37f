"""Runs are compared on the same photos, and chance is not taken for a difference."""

import json
import shutil
from math import comb

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from safetensors.numpy import save_file

from birds import drawn
from export import drop
from fieldmark.errors import RunError
from fieldmark.evaluation.comparison import pairs
from fieldmark.evaluation.comparison import plots as compare_plots
from fieldmark.evaluation.comparison import report as compare
from fieldmark.evaluation.comparison.tables import described, duration, table
from fieldmark.evaluation.latency import timed
from fieldmark.files import write_json
from fieldmark.run import Run
from tests.command_line import run_command
from tests.conftest import ROOT

SPECIES = [name.replace("_", " ") for name in drawn.SPECIES]
N = 60


def write_card(folder, card):
    metadata = {"card": json.dumps(card)}
    save_file({"0.weight": np.ones((2, 3), np.float32)}, folder / "birds.safetensors", metadata)


@pytest.fixture
def write_run(tmp_path, run):
    """Return a function that writes a run: which of N photos it got wrong, and what else it is."""

    def write(name, wrong=(), labels=SPECIES, first=0, taught=(), true=None, ms=1.0, **card):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        shutil.copy(run / "birds.onnx", folder)
        paths = [f"{place:03}.jpg" for place in range(first, first + N)]
        truth = true or [labels[place % len(labels)] for place in range(first, first + N)]
        answer = [label if place not in wrong else "wrong" for place, label in enumerate(truth)]
        answers = pd.DataFrame({"path": paths, "label": truth, "predicted": answer})
        split = answers[["path", "label"]].assign(split="calibration")
        split.loc[list(taught), "split"] = "train"
        split.to_csv(folder / "split.csv", index=False)
        answers = answers.drop(index=list(taught))
        answers.to_csv(folder / "predictions.csv", index=False)
        n, right = len(answers), (answers["label"] == answers["predicted"]).mean()
        measured = {"value": round(right, 4), "interval": [right - 0.05, right], "n": n}
        card |= {"architecture": "tiny", "labels": [{"label": label} for label in labels]}
        write_card(folder, card)
        history = {
            "stage": ["frozen", "fine-tuning", "fine-tuning"],
            "epoch": [1, 1, 2],
            "train_loss": [3.0, 2.0, 1.0],
            "valid_loss": [3.5, 1.5, 2.5],
            "accuracy": [0.2, 0.7, 0.6],
            "seconds": [ms, 2 * ms, 3 * ms],
        }
        pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
        write_json(folder / "metrics.json", {"accuracy": measured, "macro_f1": measured})
        return folder

    return write


@pytest.fixture
def ask(monkeypatch, tmp_path):
    """Return a function that compares as `make compare` does, and tells status and words."""
    monkeypatch.chdir(tmp_path)

    def asked(*words):
        result = run_command("compare", *words)
        return result.exit_code, result.stdout, result.stderr

    return asked


def exact(fewer: int, more: int) -> float:
    """Return McNemar's exact p in closed form: both tails of a fair coin."""
    n = fewer + more
    return min(1.0, 2 * sum(comb(n, k) for k in range(fewer + 1)) / 2**n)


def test_only_photos_that_one_run_alone_named_right_speak(write_run):
    both = {0, 1, 2}
    first = write_run("first", wrong=both | {10})
    second = write_run("second", wrong=both | set(range(20, 29)))
    told, not_compared = pairs.pairs(Run.open_all([second, first]))
    row = told.iloc[0]
    assert (row["first"], row["second"]) == ("first", "second")
    assert (row["n"], row["only_first"], row["only_second"]) == (N, 9, 1)
    assert row["p"] == pytest.approx(22 / 1024) == pytest.approx(exact(1, 9))
    assert row["points"] == pytest.approx(100 * 8 / N)
    assert (row["low"], row["high"]) == pytest.approx([100 * end for end in drop.paired(9, 1, N)])
    assert row["adjusted"] == row["p"]
    assert row["beyond_noise"]
    assert not_compared.empty


def test_two_runs_with_the_same_mistakes_are_alike(write_run, ask):
    folders = [write_run(name, wrong={1, 2}) for name in "ab"]
    told, _ = pairs.pairs(Run.open_all(folders))
    assert (told.loc[0, "p"], told.loc[0, "points"]) == (1, 0)
    assert not told.loc[0, "beyond_noise"]
    _, said, _ = ask(*folders, "--no-speed")
    assert "0 of 6 species differ" in said
    assert "figures/classes.png" not in said


def test_many_tests_are_adjusted_as_by_holm():
    assert pairs.holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])
    assert pairs.holm(np.array([0.6, 0.001, 0.6])) == pytest.approx([1, 0.003, 1])
    assert len(pairs.holm(np.array([]))) == 0


def test_a_difference_that_stands_alone_is_noise_among_many_tests(write_run, ask):
    folders = [
        write_run("a", wrong={10}),
        write_run("b", wrong=set(range(20, 29))),
        write_run("c", wrong={10, 11}),
    ]
    status, said, _ = ask(*folders[:2], "--no-speed")
    assert status == 0
    assert "| a | b | 13.33 " in said
    assert "| species | n | a, % right | b, % right | points |" in said
    assert said.count("beyond noise |") == 1
    _, said, _ = ask(*folders, "--no-speed")
    assert "| 0.021 | 0.064 | within noise |" in said
    assert "adjusted (Holm) for 3 pairs" in said


def test_a_photo_that_taught_one_run_does_not_count(write_run):
    first = write_run("first", taught={0, 1, 2, 3})
    second = write_run("second", wrong={0, 1, 2, 3, 4})
    row = pairs.pair(*Run.open_all([first, second]))
    assert (row["n"], row["only_first"], row["only_second"]) == (N - 4, 1, 0)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"labels": [*SPECIES[:5], "Dodo"]}, "they name other species"),
        ({"first": 31}, "other photos judged: only 29 of 60 photos judged both"),
        (
            {"first": 20, "taught": range(21)},
            "other photos judged: only 19 of 39 photos",
        ),
        ({"true": [SPECIES[1], *SPECIES[1:]] * 10}, "photos of the same name have other labels"),
    ],
    ids=["labels", "split", "taught", "other photos"],
)
def test_runs_that_do_not_share_photos_are_told_and_not_tested(write_run, ask, other, why):
    one = write_run("one", wrong={1})
    two = write_run("two", wrong=range(30), **other)
    status, said, _ = ask(one, two, "--no-speed")
    assert status == 0
    assert f"- Not compared, since {why}" in said
    assert "one and two" in said
    assert "beyond noise |" not in said
    assert "Species by species" not in said
    assert "| one | tiny | 6 species | 98.3 (93.3 to 98.3) | 60 |" in said


def test_half_of_the_photos_are_enough(write_run):
    row = pairs.pair(*Run.open_all([write_run("one"), write_run("two", first=30)]))
    assert row["n"] == N // 2


def test_a_species_may_be_called_na(write_run):
    labels = ["NA", *SPECIES[1:]]
    one, two = Run.open_all([write_run(name, labels=labels, wrong={0}) for name in "ab"])
    assert pairs.pair(one, two)["n"] == N
    assert pairs.by_class(one, two).set_index("label").loc["NA", "recall_first"] == 0.9


def test_recall_is_compared_class_by_class_the_largest_difference_first(write_run):
    first = write_run("first", wrong={5, 1})
    second = write_run("second", wrong={0, 6, 12, 1, 13})  # of species 0, 0, 0, 1, 1
    classes = pairs.by_class(*Run.open_all([first, second]))
    assert classes["label"].tolist()[:3] == [SPECIES[0], SPECIES[1], SPECIES[5]]
    assert classes["points"].tolist() == pytest.approx([30, 10, -10, 0, 0, 0])
    assert classes["n"].tolist() == [10] * 6
    assert (classes["points"] * classes["n"]).sum() / N == pytest.approx(100 * 3 / N)
    (axes,) = compare_plots.class_differences(classes, "first", "second").axes
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert names == [f"{SPECIES[place]} (10)" for place in (0, 1, 5)]
    drawn = {line.get_label(): line.get_xdata().tolist() for line in axes.lines}
    assert drawn == {"first": [100, 90, 90], "second": pytest.approx([70, 80, 100])}
    assert axes.get_title(loc="left") == "3 of 6 species differ"


def test_a_species_that_judged_neither_has_no_recall(write_run):
    few = [SPECIES[place % 3] for place in range(N)]
    classes = pairs.by_class(*Run.open_all([write_run(name, true=few) for name in "ab"]))
    assert classes["n"].tolist() == [20, 20, 20, 0, 0, 0]
    assert classes["recall_first"].isna().tolist() == [False] * 3 + [True] * 3


def planted() -> pd.DataFrame:
    """Return four runs of one task, of which `slow` and `beaten` are beaten, and one of another."""
    rows = [
        ("fast", "6 species", 0.80, 5.0),
        ("good", "6 species", 0.90, 9.0),
        ("slow", "6 species", 0.90, 12.0),
        ("beaten", "6 species", 0.70, 8.0),
        ("other", "3 species", 0.60, 99.0),
    ]
    found = pd.DataFrame(rows, columns=["run", "task", "accuracy", "ms"])
    for name, reach in (("accuracy", 0.05), ("ms", 1)):
        found[f"{name}_low"], found[f"{name}_high"] = found[name] - reach, found[name] + reach
    return found


def test_the_pareto_front_holds_who_is_not_beaten_in_its_own_task():
    found = planted()
    assert found["run"][compare_plots.front(found)].tolist() == ["fast", "good", "other"]
    twins = found.iloc[[0, 0]].reset_index(drop=True)
    assert compare_plots.front(twins).tolist() == [True, True]


def test_the_front_is_drawn_through_full_points_and_every_run_is_named():
    found = planted()
    figure = compare_plots.pareto(found)
    (axes,) = figure.axes
    points = [line for line in axes.lines if line.get_marker() == "o"]
    full = [line for line in points if line.get_markerfacecolor() != "white"]
    assert sorted(x for line in full for x in line.get_xdata()) == [5, 9, 99]
    fronts = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
    assert [line.get_xdata().tolist() for line in fronts] == [[5, 9], [99]]
    assert {text.get_text(): text.xy for text in axes.texts} == {
        run: (ms, pytest.approx(100 * right))
        for run, right, ms in found[["run", "accuracy", "ms"]].itertuples(index=False)
    }
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # without the lines
    overlaps = [one.overlaps(two) for place, one in enumerate(boxes) for two in boxes[:place]]
    assert not any(overlaps)
    low, high = axes.get_xlim()
    assert low < 4 < 100 < high
    assert axes.get_xscale() == "log"


def test_names_at_one_height_are_moved_apart_in_their_order():
    moved = compare_plots.apart(np.array([0.99, 0.5, 0.99, 0.1]), 0.1)
    assert moved == pytest.approx([0.9, 0.5, 1.0, 0.1])


def test_curves_run_over_epochs_and_over_seconds(write_run):
    runs = Run.open_all([write_run("one"), write_run("two", ms=100.0)])
    figure = compare_plots.curves({run.name: run.history for run in runs})
    taught, _, loss, _, accuracy, by_second = figure.axes
    assert taught.lines[0].get_ydata().tolist() == [3, 2, 1]
    lines = {line.get_label(): line for line in loss.lines}
    assert lines["one"].get_xdata().tolist() == [1, 2, 3]
    assert lines["one"].get_ydata().tolist() == [3.5, 1.5, 2.5]
    seconds = [line.get_xdata().tolist() for line in by_second.lines if len(line.get_xdata()) == 3]
    assert seconds == [[1, 3, 6], [100, 300, 600]]
    rings = [line for line in accuracy.lines if line.get_marker() == "o"]
    assert [(*ring.get_xdata(), *ring.get_ydata()) for ring in rings] == [(2, 70), (2, 70)]
    assert [text.get_text() for text in figure.legends[0].texts] == ["one", "two"]


def test_training_time_is_that_of_the_card(write_run):
    folders = [write_run("a", training={"seconds": 180.0}), write_run("b", {1})]
    rows = [described(row) for _, row in table(Run.open_all(folders), {}).iterrows()]
    assert [row["trained"] for row in rows] == ["3.0 min", "–"]
    assert duration(7200) == "2.0 h"


def test_make_compare_measures_all_finished_runs_and_writes_tables_and_figures(write_run, ask):
    one, two = write_run("one", wrong={1}), write_run("two", wrong=set(range(12)))
    (two.parent / "unfinished").mkdir()
    (two.parent / "unfinished/predictions.csv").write_text("path\n")
    (write_run("old") / "metrics.json").unlink()
    write_run("test-notebook")
    status, said, _ = ask("--rounds", "3")
    out = one.parent / "comparison"
    assert status == 0
    assert said.startswith((out / "index.md").read_text(encoding="utf-8"))
    found = pd.read_csv(out / "table.csv")
    assert found["run"].tolist() == ["one", "two"]
    assert (found["ms"] > 0).all()
    assert ((found["ms_low"] <= found["ms"]) & (found["ms"] <= found["ms_high"])).all()
    assert found["bytes"].tolist() == [(each / "birds.onnx").stat().st_size for each in (one, two)]
    assert len(pd.read_csv(out / "classes.csv")) == 6
    assert pd.read_csv(out / "pairs.csv")["beyond_noise"].tolist() == [True]
    assert {path.stem for path in (out / "figures").iterdir()} == set(compare.FIGURES)
    assert all(f"(figures/{name}.png)" in said for name in compare.FIGURES)
    status, said, _ = ask(one, "--no-speed")
    assert {path.stem for path in (out / "figures").iterdir()} == {"curves"}
    assert "There is one run only." in said


def test_models_take_turns_and_warm_up_before_each():
    asked = []

    class Listed:
        size = 32

        def __init__(self, name):
            self.name = name

        def predict(self, photos):
            assert photos.shape == (1, self.size, self.size, 3)
            asked.append(self.name)

    spent = timed({"a": Listed("a"), "b": Listed("b")}, 2)
    assert "".join(asked) == "aabbaabb"
    assert {name: len(each) for name, each in spent.items()} == {"a": 2, "b": 2}


def test_a_run_without_history_has_no_curves_and_no_time(write_run, ask):
    folder = write_run("one")
    (folder / "history.csv").unlink()
    status, said, _ = ask(folder, "--no-speed")
    assert status == 0
    assert "figures/" not in said
    assert Run.open_all([folder])[0].seconds is None


def test_a_run_that_was_made_of_others_was_trained_on_no_machine_of_its_own(write_run, ask):
    ensemble = {"method": "logits", "members": [{"file": "one"}, {"file": "other"}]}
    folders = [write_run("one"), write_run("both", ensemble=ensemble)]
    for folder in folders:
        (folder / "environment.json").write_text(json.dumps({"cpu": "Z80", "cores": 1}))
    _, said, _ = ask(*folders, "--no-speed")
    assert "Trained on Z80, 1 cores: one." in said
    assert "Made of one and other: both." in said


def test_runs_whose_folders_have_one_name_are_told_apart(write_run):
    folders = [write_run("a/mine"), write_run("b/mine"), write_run("a/yours")]
    names = [run.name for run in Run.open_all([*folders, folders[0]])]
    assert names == [*(folder.as_posix() for folder in folders[:2]), "yours"]


def spoil_metrics(folder):
    told = json.loads((folder / "metrics.json").read_text())
    told["accuracy"]["value"] = 0.5
    (folder / "metrics.json").write_text(json.dumps(told))


def spoil_answers(folder):
    """Leave answers as right as before, of the photos of another split."""
    told = pd.read_csv(folder / "predictions.csv")
    told.assign(path="again-" + told["path"]).to_csv(folder / "predictions.csv", index=False)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "metrics.json").unlink(), "metrics.json"),
        (shutil.rmtree, "birds.onnx, birds.safetensors, split.csv, predictions.csv"),
        (lambda folder: (folder / "birds.onnx").write_bytes(b"?"), "damaged"),
        (lambda folder: (folder / "birds.safetensors").write_bytes(b"?"), "no model card"),
        (spoil_metrics, "metrics.json does not fit predictions.csv"),
        (spoil_answers, "split.csv"),
    ],
    ids=["unfinished", "nowhere", "damaged", "no card", "other metrics", "another split"],
)
def test_what_is_no_finished_run_is_told_with_exit_status_2(write_run, ask, spoil, message):
    folder = write_run("one")
    spoil(folder)
    status, _, complaint = ask(folder, "--rounds", "1")
    assert status == 2
    assert message in complaint
    assert "one" in complaint


def test_without_a_run_the_next_step_is_told(ask):
    status, _, complaint = ask()
    assert status == 2
    assert "no finished run below runs" in complaint


def test_a_run_cannot_be_asked_no_times(write_run, ask):
    status, _, complaint = ask(write_run("one"), "--rounds", "0")
    assert status == 2
    assert "--rounds" in complaint


def test_a_run_that_names_itself_twice_is_read_once(write_run):
    folder = write_run("one")
    with pytest.raises(RunError, match="no finished run"):
        Run.find_all(ROOT / "recipes")
    assert len(Run.open_all([folder, folder])) == 1
