"""An older run becomes a current one: new names, the same network, and no half-changed folder."""

import json
import shutil

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import yaml
from safetensors.numpy import load_file

from birds import drawn
from birds.classifier import Classifier
from birds.model_file import OUTPUTS, add_checksum
from birds.photo import prepare
from fieldmark import migration
from fieldmark.errors import RunError, UserError
from fieldmark.files import write_json
from fieldmark.run import Run
from fieldmark.run_folder import read_weights_card
from tests.command_line import run_command

SHARED_ENTRIES = (
    *("name", "version", "trained_on", "licence", "architecture", "labels", "preparation"),
    *("temperature", "heatmap", "drawn_photo", "tolerance", "opset", "versions", "gate", "weights"),
)
OLD_RECIPE = {"photos": "drawn", "unknown": "neighbours", "tune_share": 0.2, "out": "runs/old"}
METRIC = {"value": 0.9, "interval": [0.8, 0.95], "n": 12}
OLD_ENTRIES = {
    "precision": "fp16",
    "metrics": {"accuracy": METRIC, "list_size": METRIC, "part": "calibrate"},
    "thresholds": {
        "shortlist": {"method": "adaptive", "source": "", "level": 0.95, "threshold": 0.5},
        "unknown": {"score": "neighbours", "rejected": 0.05, "threshold": 0.3},
    },
    "shortlists_compared": {"plain": {"coverage": 0.9, "size": 1.1}},
    "unknown_compared": {"probability": {"unseen": 0.9}},
    "strangers": {"unseen": {"auroc": METRIC}},
    "rehearsal": {"name": "old", "score": "probability", "strangers": {}, "unknown_compared": None},
    "averaged": {"what": "answers", "of": [{"file": "a"}]},
}


def write_card(run: Run, card: dict) -> None:
    """Put a card into both files as the exporter of schema 1 did."""
    model = onnx.load(run.model_file)
    model.ClearField("doc_string")
    del model.metadata_props[:]
    model.metadata_props.add(key="card", value=json.dumps(card))
    run.model_file.write_bytes(add_checksum(model.SerializeToString()))
    weights = migration.replace_weights_card(run.weights_file.read_bytes(), card)
    run.weights_file.write_bytes(weights)


@pytest.fixture
def old_run(run, tmp_path) -> Run:
    """Write a run as schema 1 had it, of the weights and graph of a current one."""
    old = Run(shutil.copytree(run, tmp_path / "old"))
    split = pd.read_csv(old.split_file, dtype=str, keep_default_na=False)
    split["split"] = split["split"].replace({"valid": "tune", "calibration": "calibrate"})
    split.to_csv(old.split_file, index=False)
    counts = {name: int(n) for name, n in split["split"].value_counts().items()}
    card = {key: old.card.get(key) for key in SHARED_ENTRIES} | OLD_ENTRIES
    card |= {"recipe": OLD_RECIPE, "data": {"photos": counts, "sha256": "0" * 64}}
    write_card(old, card)
    old.recipe_file.write_text(yaml.safe_dump(OLD_RECIPE))
    pd.DataFrame({"path": ["a"], "label": ["x"], "answer": ["x"]}).to_csv(
        old.folder / "answers.csv", index=False
    )
    old.history_file.write_text("stage,epoch,log_loss\nfine-tuning,1,0.2\nfine-tuning,2,0.3\n")
    write_json(old.folder / "card.json", card)
    write_json(old.metrics_file, {"accuracy": METRIC | {"interval": [0.7, 1.0]}})
    write_json(old.folder / "cost.json", {"seconds": 60.0, "earlier_epochs": 20.0})
    (old.folder / "trouble.csv").write_text("path\n")
    return Run(old.folder)


def test_an_old_run_is_refused_with_the_command_that_migrates_it(old_run):
    for read in (lambda: Run(old_run.folder).card, lambda: Classifier(old_run.model_file)):
        with pytest.raises(UserError, match="fieldmark migrate"):
            read()


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def outputs(file) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    size = session.get_inputs()[0].shape[1]
    photos = np.stack([prepare(photo, size) for photo in drawn.awkward_photos().values()])
    return session.run(list(OUTPUTS), {"photo": photos})


def test_an_old_run_is_renamed_throughout_and_computes_the_same(old_run):
    before, tensors = outputs(old_run.model_file), load_file(old_run.weights_file)
    result = run_command("migrate", old_run.folder)
    assert (result.exit_code, result.stderr) == (0, "")
    for old, new in zip(before, outputs(old_run.model_file), strict=True):
        assert np.array_equal(old, new)
    for name, tensor in load_file(old_run.weights_file).items():
        assert np.array_equal(tensor, tensors[name])
    run = Run(old_run.folder)
    card = run.card
    assert card == migration.read_onnx_card(onnx.load(run.model_file))
    assert card["schema"] == 2
    assert (
        set(card["data"]["photos"])
        == set(run.split["split"])
        == {
            *("train", "valid", "calibration"),
        }
    )
    recipe = yaml.safe_load(run.recipe_file.read_text())
    assert card["recipe"] == recipe == {"photos": "drawn", "ood_score": "knn", "valid_share": 0.2}
    assert card["metrics"]["prediction_set_size"] == METRIC
    assert card["metrics"]["split"] == "calibration"
    assert card["thresholds"]["shortlist"]["method"] == "raps"
    assert card["thresholds"]["unknown"]["score"] == "knn"
    assert card["ood_scores_compared"] == {"msp": {"unseen": 0.9}}
    assert card["open_set_run"]["score"] == "msp"
    assert card["training"]["seconds"] == run.seconds == 80
    assert card["training"]["kept_epoch"] == {"phase": "fine-tuning", "epoch": 1}
    assert run.history["phase"].tolist() == ["fine-tuning"] * 2
    assert run.members == ["a"]
    assert run.metrics == {"accuracy": METRIC}
    assert run.predictions["predicted"].tolist() == ["x"]
    names = set(contents(run.folder))
    assert not names & {"answers.csv", "trouble.csv", "card.json", "cost.json"}
    assert run.photo_problems_file.name in names


def test_a_second_migration_changes_nothing(old_run):
    migration.migrate_run(old_run.folder)
    before = contents(old_run.folder)
    assert migration.migrate_run(old_run.folder) == []
    assert contents(old_run.folder) == before


def test_a_renamed_key_of_a_current_run_is_rewritten_in_recipe_and_cards(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    now, before = Run(folder), outputs(folder / "birds.onnx")
    card = now.card | {"recipe": now.card["recipe"] | {"crop_to_box": True}}
    write_card(now, card)
    now.recipe_file.write_text(yaml.safe_dump(card["recipe"]))
    names = {path.name for path in (now.model_file, now.weights_file, now.recipe_file)}
    assert set(migration.migrate_run(folder)) == names
    migrated = Run(folder)
    assert migrated.recipe["crop"] == "boxes"
    assert "crop_to_box" not in migrated.recipe
    assert migrated.card == card | {"recipe": migrated.recipe}
    assert all(map(np.array_equal, before, outputs(folder / "birds.onnx")))
    assert migration.migrate_run(folder) == []


def test_the_old_files_are_restored_if_the_new_model_does_not_load(old_run, monkeypatch):
    before = contents(old_run.folder)

    def fail(file):
        raise KeyboardInterrupt

    monkeypatch.setattr(migration, "Classifier", fail)
    with pytest.raises(KeyboardInterrupt):
        migration.migrate_run(old_run.folder)
    after = contents(old_run.folder)
    assert {name: after[name] for name in before} == before


def other_recipe(run):
    run.recipe_file.write_text("photos: elsewhere\n")


def other_split(run):
    run.split_file.write_text("path,label,split\na,b,train\n")


def no_weights(run):
    run.weights_file.unlink()


def unfamiliar_entry(run):
    write_card(run, read_weights_card(run.weights_file) | {"moon": "full"})


def newer_schema(run):
    write_card(run, read_weights_card(run.weights_file) | {"schema": 3})


@pytest.mark.parametrize(
    "spoil", [other_recipe, other_split, no_weights, unfamiliar_entry, newer_schema]
)
def test_a_run_that_is_not_understood_is_refused_and_left_as_it_is(spoil, old_run):
    spoil(old_run)
    before = contents(old_run.folder)
    with pytest.raises(RunError):
        migration.migrate_run(old_run.folder)
    assert contents(old_run.folder) == before
