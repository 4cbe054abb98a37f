"""A person reads from a terminal what a model file is, whatever its card has learned to say."""

import pytest

from birds.describe import WIDTH, describe, entry_lines
from tests.command_line import run_command
from tests.conftest import FACTS


def test_a_model_file_is_described_by_one_command(model):
    done = run_command("describe", model)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("tiny 20")
    for fact in FACTS["trained_on"], FACTS["licence"], FACTS["architecture"], "Night Inkling":
        assert fact in done.stdout
    assert "6 species: " in done.stdout
    assert f"{model.stat().st_size / 1e6:.1f} MB" in done.stdout


def test_a_file_that_cannot_be_served_is_told_in_one_sentence(tmp_path):
    done = run_command("describe", tmp_path / "birds.onnx")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "birds.onnx" in done.stderr


MEASURED = {"value": 0.9365, "interval": [0.903, 0.959], "n": 1299, "method": "Wilson"}


@pytest.mark.parametrize(
    ("name", "value", "lines"),
    [
        ("trained_on", "six birds", ["trained on: six birds"]),
        ("accuracy", MEASURED, ["accuracy: 93.7 % (90.3 to 95.9 %), n = 1,299, method: Wilson"]),
        ("ece", {"value": 0.012}, ["ece: 0.012"]),
        ("auroc", {"far": MEASURED | {"n": 9}}, ["auroc:", "  far: 0.9365 (0.903 to 0.959), n = 9, "
                                                            "method: Wilson"]),
        ("mean_size", {"all": {"value": 1.0}}, ["mean size:", "  all: 1"]),
        ("depth", {"value": 12.5, "n": None}, ["depth: 12.5, n = none"]),
        ("heatmap", None, ["heatmap: none"]),
        ("heatmap", {"height": 7, "width": 8}, ["heatmap:", "  height: 7", "  width: 8"]),
        ("largest_difference", 1.3113e-06, ["largest difference: 1.311e-06"]),
        ("flip", True, ["flip: yes"]),
        ("mean", [0.485, 0.456], ["mean: 0.485, 0.456"]),
        ("groups", [["Ash", "Elm"], []], ["groups:", "  1: Ash, Elm", "  2: none"]),
        ("parts", [{"n": 3}], ["parts:", "  1:", "    n: 3"]),
        ("thresholds", {}, ["thresholds: none"]),
    ],
)  # fmt: skip
def test_every_kind_of_entry_is_written_readably(name, value, lines):
    assert list(entry_lines(name, value)) == lines


def test_a_long_text_is_wrapped_and_stays_below_its_name():
    first, *others = entry_lines("licence", "word " * 100, ("recipe",))
    assert first.startswith("  licence: word")
    assert others
    assert all(line.startswith("    word") and len(line) <= WIDTH for line in others)


def test_what_a_card_lacks_is_not_told_and_what_nobody_foresaw_is(tmp_path):
    file = tmp_path / "birds.onnx"
    file.write_bytes(bytes(2_000_000))
    label = {"label": "Ash Bird", "common_name": "Ash Bird", "scientific_name": None}
    card = {"name": "small", "version": "1", "labels": [label], "drawn_photo": {"unknown": 0.5}}
    card |= {"moon": {"phase": "full"}, "licence": "MIT"}
    assert describe(card, file).splitlines() == [
        *("small 1", "birds.onnx, 2.0 MB", ""),
        *("licence: MIT", "moon:", "  phase: full", "1 species: Ash Bird"),
    ]
