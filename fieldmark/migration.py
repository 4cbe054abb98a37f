"""Bring the files of an older run up to date; what the network computes stays bit-equal."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import yaml

from birds.classifier import Classifier
from birds.model_file import SCHEMA, add_checksum, check_bytes
from fieldmark.errors import RunError
from fieldmark.files import atomic_path, format_json, read_json, write_bytes
from fieldmark.recipe.renamed import RENAMED_VALUES, rename_keys
from fieldmark.run import Run
from fieldmark.run_folder import read_table, read_weights_card

BACKUP = ".before-migration"  # the old files, in the run's folder while they are replaced
RENAMED_CARD_KEYS = {
    "precision": "weights_dtype",
    "rehearsal": "open_set_run",
    "unknown_compared": "ood_scores_compared",
    "strangers": "out_of_distribution",
    "shortlists_compared": "prediction_sets_compared",
    "averaged": "ensemble",
}
UNCHANGED_CARD_KEYS = {
    *("accuracy_before_rounding", "name", "trained_on", "licence", "architecture", "recipe"),
    *("weights", "teacher", "baselines", "tests", "version", "labels", "preparation", "data"),
    *("temperature", "heatmap", "thresholds", "drawn_photo", "tolerance", "opset", "versions"),
    *("metrics", "coverage_by_family", "gate", "members"),
}
RENAMED_METRICS = {
    "part": "split",
    "ece_before": "ece_before_temperature",
    "ece_of_perfection": "ece_if_calibrated",
    "known_called_unknown": "known_rejection_rate",
    "list_size": "prediction_set_size",
}
RENAMED_SPLITS = {"tune": "valid", "calibrate": "calibration"}
RENAMED_SETS = {"plain": "lac", "adaptive": "raps"}
RENAMED_COLUMNS = {"answer": "predicted", "stage": "phase"}  # of tables
RENAMED_SCORES = RENAMED_VALUES["ood_score"]


def migrate_run(
    folder: Path, training: Mapping | None = None, data_sha256: str | None = None
) -> list[str]:
    """Bring a run to schema 2; return the names of the files that changed, none if up to date.

    `training` and `data_sha256` are entries of the card for runs that did not record them.
    The old files are restored if anything fails, also by the next call after a killed one. Raises
    RunError, before any change, for a run that is incomplete or not understood.
    """
    run = Run(folder)
    restore_backup(run)
    contents, obsolete = new_contents(run, training, data_sha256)
    obsolete = [file for file in obsolete if file.is_file()]
    if not contents and not obsolete:
        return []
    backup = run.folder / BACKUP
    for file in (*contents, *obsolete):
        if file.is_file():
            with atomic_path(backup / file.name) as scratch:
                shutil.copyfile(file, scratch)
    try:
        for file, content in contents.items():
            write_bytes(file, content)
        for file in obsolete:
            file.unlink()
        Classifier(run.model_file)
    except BaseException:
        restore_backup(run)
        raise
    shutil.rmtree(backup)
    return [file.name for file in (*contents, *obsolete)]


def restore_backup(run: Run) -> None:
    """Put back the files that an interrupted migration saved."""
    backup = run.folder / BACKUP
    if backup.is_dir():
        for file in backup.iterdir():
            file.replace(run.folder / file.name)
        backup.rmdir()


def new_contents(
    run: Run, training: Mapping | None, data_sha256: str | None
) -> tuple[dict[Path, bytes], list[Path]]:
    """Return the content of each file that changes, and the files that are removed.

    Raises RunError for a run that is incomplete or not understood.
    """
    if missing := [file.name for file in run.model_files if not file.is_file()]:
        raise RunError(f"{run.folder} is not a finished run: it has no {', '.join(missing)}.")
    check_bytes(run.model_file)
    model = onnx.load(run.model_file)
    cards: list[Any] = [read_onnx_card(model), read_weights_card(run.weights_file)]
    if not all(isinstance(card, dict) for card in cards):
        raise RunError(f"{run.folder}: birds.onnx or birds.safetensors has no model card.")
    old_files = {name: run.folder / name for name in ("answers.csv", "trouble.csv")}
    obsolete = [*old_files.values(), *(run.folder / f"{name}.json" for name in ("card", "cost"))]
    contents = {}
    if any(needs_migration(card) for card in cards):
        extra = {"training": training or training_of(run)}
        card, other = (migrate_card(card, extra, data_sha256) for card in cards)
        if card != other:
            raise RunError(
                f"{run.folder}: the cards of birds.onnx and birds.safetensors differ. Copy both "
                "files from one run."
            )
        contents |= {
            run.model_file: replace_onnx_card(model, card),
            run.weights_file: replace_weights_card(run.weights_file.read_bytes(), card),
            run.split_file: migrate_split(run.split_file, card),
            run.recipe_file: migrate_recipe(run.recipe_file, card),
        }
        if run.metrics:
            contents[run.metrics_file] = migrate_metrics(run.metrics, card)
    contents = {
        file: content
        for file, content in contents.items()
        if not file.is_file() or file.read_bytes() != content
    }
    if old_files["answers.csv"].is_file():
        table = read_table(old_files["answers.csv"]).rename(columns=RENAMED_COLUMNS)
        contents[run.predictions_file] = table.to_csv(index=False).encode()
    if "stage" in run.history:
        table = read_table(run.history_file).rename(columns=RENAMED_COLUMNS)
        contents[run.history_file] = table.to_csv(index=False).encode()
    if old_files["trouble.csv"].is_file():
        contents[run.photo_problems_file] = old_files["trouble.csv"].read_bytes()
    return contents, obsolete


def needs_migration(card: dict) -> bool:
    """Return whether a card has an older schema, or a recipe with older keys."""
    return card.get("schema", 1) != SCHEMA or rename_keys(card["recipe"]) != card["recipe"]


def migrate_card(card: dict, extra: Mapping, data_sha256: str | None = None) -> dict:
    """Return a card of schema 1 as one of schema 2; of a card of schema 2 the recipe may change.

    `extra` are entries that schema 1 did not have. The digest of the data depends on the names of
    the splits: without its new value, `data_sha256`, the old one stays under another name.
    """
    if (schema := card.get("schema", 1)) == SCHEMA:
        return card | {"recipe": rename_keys(card["recipe"])}
    if schema != 1:
        raise RunError(f"The card has schema {schema}, which is newer than this code. Update it.")
    if unknown := sorted(card.keys() - RENAMED_CARD_KEYS.keys() - UNCHANGED_CARD_KEYS):
        raise RunError(f"The card has entries that cannot be migrated: {', '.join(unknown)}.")
    new = {RENAMED_CARD_KEYS.get(key, key): value for key, value in card.items()}
    new["recipe"] = rename_keys(new["recipe"])
    data = {"photos": rename(new["data"]["photos"], RENAMED_SPLITS)}
    digest = {"sha256": data_sha256} if data_sha256 else {"sha256_schema_1": new["data"]["sha256"]}
    new["data"] = data | digest
    metrics = rename(new.get("metrics") or {}, RENAMED_METRICS)
    if "split" in metrics:
        metrics["split"] = RENAMED_SPLITS.get(metrics["split"], metrics["split"])
    new["metrics"] = metrics
    new["thresholds"] = migrate_thresholds(new.get("thresholds"))
    for key, names in (
        ("prediction_sets_compared", RENAMED_SETS),
        ("ood_scores_compared", RENAMED_SCORES),
    ):
        if new.get(key):
            new[key] = rename(new[key], names)
    if open_set := new.get("open_set_run"):
        open_set = rename(open_set, RENAMED_CARD_KEYS)
        open_set["score"] = RENAMED_SCORES.get(open_set["score"], open_set["score"])
        open_set["ood_scores_compared"] = rename(
            open_set.get("ood_scores_compared") or {}, RENAMED_SCORES
        )
        new["open_set_run"] = open_set
    if ensemble := new.get("ensemble"):
        method = {"answers": "logits"}.get(ensemble["what"], ensemble["what"])
        new["ensemble"] = {"method": method, "members": ensemble["of"]}
    return {"schema": SCHEMA, **new, **extra}


def migrate_thresholds(thresholds: dict | None) -> dict | None:
    """Return the thresholds with the new names of methods and scores."""
    if not thresholds:
        return thresholds
    new = dict(thresholds)
    for key, entry, names in (
        ("shortlist", "method", RENAMED_SETS),
        ("unknown", "score", RENAMED_SCORES),
    ):
        if rule := new.get(key):
            new[key] = rule | {entry: names.get(rule[entry], rule[entry])}
    return new


def rename(entries: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return entries with some of their keys renamed."""
    return {names.get(key, key): value for key, value in entries.items()}


def training_of(run: Run) -> dict:
    """Return the card's `training` from cost.json and history.csv, None for what they lack."""
    cost = read_json(run.folder / "cost.json")
    seconds = cost["seconds"] + cost.get("earlier_epochs", 0) if cost else None
    history = run.history.rename(columns=RENAMED_COLUMNS)
    known = run.describe_training(history) if "log_loss" in history else {}
    return {"seconds": seconds, "epochs": len(history) or None} | {
        key: known.get(key) for key in ("kept_epoch", "selection")
    }


def migrate_split(file: Path, card: dict) -> bytes:
    """Return split.csv with the new names of splits; raises RunError if it is not the card's."""
    table = read_table(file)
    table["split"] = table["split"].replace(RENAMED_SPLITS)
    if table["split"].value_counts().to_dict() != card["data"]["photos"]:
        raise RunError(f"{file} has other numbers of photos than the card. It is of another run.")
    return table.to_csv(index=False).encode()


def migrate_recipe(file: Path, card: dict) -> bytes:
    """Return recipe.yaml with the new keys; raises RunError if it is not the card's recipe."""
    if rename_keys(yaml.safe_load(file.read_text(encoding="utf-8"))) != card["recipe"]:
        raise RunError(f"{file} differs from the recipe in the card. It is of another run.")
    return yaml.safe_dump(card["recipe"], sort_keys=False, allow_unicode=True).encode()


def migrate_metrics(metrics: dict, card: dict) -> bytes:
    """Return metrics.json with the card's intervals of the figures that both have."""
    shared = {
        key: metric
        for key, metric in card["metrics"].items()
        if key in metrics and metric["value"] == metrics[key]["value"]
    }
    return format_json(metrics | shared).encode()


def read_onnx_card(model: onnx.ModelProto) -> dict | None:
    """Return the card in a model's metadata, None if there is none."""
    texts = [entry.value for entry in model.metadata_props if entry.key == "card"]
    return json.loads(texts[0]) if texts else None


def replace_onnx_card(model: onnx.ModelProto, card: dict) -> bytes:
    """Return an ONNX file with another card; its graph is byte-identical."""
    new = onnx.ModelProto()
    new.CopyFrom(model)
    new.ClearField("doc_string")  # the checksum, which `add_checksum` computes again
    del new.metadata_props[:]
    new.metadata_props.add(key="card", value=json.dumps(card, ensure_ascii=False))
    return add_checksum(new.SerializeToString())


def replace_weights_card(content: bytes, card: dict) -> bytes:
    """Return a safetensors file with another card; its tensors are byte-identical.

    The format: 8 bytes with the length of the header, the header as JSON, the tensors' bytes.
    """
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = {"card": json.dumps(card)}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8 bytes
    return len(text).to_bytes(8, "little") + text + content[8 + length :]
