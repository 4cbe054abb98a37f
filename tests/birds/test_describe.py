"""A model card as text: every kind of entry, known or not."""

import pytest

from birds.classifier import Classifier
from birds.describe import WIDTH, describe, entry_lines
from tests.conftest import FACTS


def test_a_model_file_is_described_by_its_facts_and_species(model):
    text = describe(Classifier(model, 1).card, model)
    for fact in FACTS["name"], FACTS["trained_on"], FACTS["licence"], FACTS["architecture"]:
        assert fact in text
    assert "6 species" in text
    assert "Night Inkling" in text
    assert f"{model.stat().st_size / 1e6:.1f} MB" in text


METRIC = {"value": 0.9365, "interval": [0.903, 0.959], "n": 1299, "method": "Wilson"}


@pytest.mark.parametrize(
    ("name", "value", "lines"),
    [
        ("trained_on", "six birds", ["trained on: six birds"]),
        ("accuracy", METRIC, ["accuracy: 93.7 % (90.3 to 95.9 %), n = 1,299, method: Wilson"]),
        ("ece", {"value": 0.012}, ["ece: 0.012"]),
        ("auroc", {"far": METRIC | {"n": 9}}, ["auroc:", "  far: 0.9365 (0.903 to 0.959), n = 9, "
                                                          "method: Wilson"]),
        ("mean_size", {"all": {"value": 1.0}}, ["mean size:", "  all: 1"]),
        ("depth", {"value": 12.5, "n": None}, ["depth: 12.5, n = none"]),
        ("heatmap", None, ["heatmap: none"]),
        ("heatmap", {"height": 7, "width": 8}, ["heatmap:", "  height: 7", "  width: 8"]),
        ("largest_difference", 1.3113e-06, ["largest difference: 1.311e-06"]),
        ("flip", True, ["flip: yes"]),
        ("mean", [0.485, 0.456], ["mean: 0.485, 0.456"]),
        ("groups", [["Ash", "Elm"], []], ["groups:", "  1: Ash, Elm", "  2: none"]),
        ("splits", [{"n": 3}], ["splits:", "  1:", "    n: 3"]),
        ("thresholds", {}, ["thresholds: none"]),
    ],
)  # fmt: skip
def test_every_kind_of_entry_is_formatted(name, value, lines):
    assert list(entry_lines(name, value)) == lines


def test_a_long_text_is_wrapped_and_indented_below_its_key():
    first, *others = entry_lines("licence", "word " * 100, ("recipe",))
    assert first.startswith("  licence: word")
    assert others
    assert all(line.startswith("    word") and len(line) <= WIDTH for line in others)


def test_missing_keys_are_omitted_and_unfamiliar_ones_included(tmp_path):
    file = tmp_path / "birds.onnx"
    file.write_bytes(bytes(2_000_000))
    label = {"label": "Ash Bird", "common_name": "Ash Bird", "scientific_name": None}
    card = {"name": "small", "version": "1", "labels": [label], "drawn_photo": {"unknown": 0.5}}
    card |= {"moon": {"phase": "full"}, "licence": "MIT"}
    assert describe(card, file).splitlines() == [
        *("small 1", "birds.onnx, 2.0 MB", ""),
        *("licence: MIT", "moon:", "  phase: full", "1 species: Ash Bird"),
    ]
