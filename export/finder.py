"""Turn a trained finder into finder.onnx: its threshold, card, file and gate."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnx
import PIL
import torch

from birds.drawn import awkward_photos
from birds.finder import OUTPUTS, SCHEMA, Finder, drawn_input
from birds.photo import FINDER_FILTER
from export.card import package_versions, version_of
from export.conversion import convert_finder
from export.finder_gate import check_gate
from export.finder_input import example_input, fingerprints, held_out_photos
from export.model_file import OPSET, export_module, write_model
from export.torch_files import write_finder_copy
from export.weights_dtype import DEFAULT, convert
from fieldmark.files import read_json, write_json, write_text
from fieldmark.finder.boxes import MIN_SCORE, FinderGraph
from fieldmark.finder.dataset import VALID, SceneDataset
from fieldmark.finder.detector import STRIDE, Detector
from fieldmark.finder.evaluation import choose_threshold, compute_metrics, detect, find_by_file
from fieldmark.finder.finder_run import FinderRun, save_weights
from fieldmark.finder.sources import load_sources
from fieldmark.network.half import round_to_half, stored_weights
from fieldmark.recipe import FinderRecipe
from fieldmark.replacement import keep_gate_report, replaced_by_export
from fieldmark.run import lock_run

GATE_SCENES = 60
DIGITS = 4  # of the outputs that a card records
THRESHOLD_RULE = (
    "the highest score at which `found_share` of the birds that are at least a quarter of the "
    "frame's shorter side are found (intersection over union at least 0.5), on held-out scenes; "
    "metrics are of other held-out scenes"
)


def export_finder(folder: Path | str, formats: Collection[str] = ()) -> dict:
    """Round, evaluate, export and check the network of a run; return the card.

    Writes finder.onnx, its weights, metrics.json, and files of further `formats`, all together.
    Raises GateError, having written nothing but gate.csv, if a file finds other boxes than the
    network, ModelError for a file that does not load, ExportError for a format that cannot be
    written, RunError before training has ended, LockedError if another process exports the run.
    """
    run = FinderRun(folder)
    recipe, detector = run.recipe, run.load_best()
    round_to_half(detector)
    lock = lock_run(run.folder)
    try:
        scenes = SceneDataset(
            load_sources(recipe, run.read_boxes(), VALID),
            recipe.fine_size or recipe.size,
            recipe.batch_size,
            recipe.seed,
            VALID,
            recipe.whole_share,
        )
        conversions = {format: convert_finder(format, detector) for format in formats}
        model, card = convert(export_graph(detector), DEFAULT), describe_finder(detector, run)
        owned = [file.name for file in run.further_files]
        kept_report = keep_gate_report(run.gate_report_file)
        with replaced_by_export(run.folder, owned) as scratch_folder, kept_report:
            scratch = FinderRun(scratch_folder)
            file = scratch.model_file
            write_model(model, card, file)
            card["threshold"], card["metrics"] = evaluate(Finder(file), scenes, recipe)
            write_model(model, card, file)
            photos = held_out_photos(scenes, 2 * recipe.valid_scenes, GATE_SCENES)
            photos |= awkward_photos()
            report, card["gate"] = check_gate(Finder(file), detector, photos)
            write_model(model, card, file)
            finder = Finder(file)  # raises ModelError unless the file loads with its final card
            for format, write in conversions.items():
                write_finder_copy(format, write, detector, finder, scratch_folder, photos)
            save_weights(detector, scratch.weights_file, DEFAULT, card)
            write_json(scratch.metrics_file, card["metrics"])
            write_text(scratch.gate_report_file, report.to_csv())
    finally:
        lock.release()
    return card


def evaluate(finder: Finder, scenes: SceneDataset, recipe: FinderRecipe) -> tuple[float, dict]:
    """Return the threshold, chosen on held-out scenes, and the metrics on as many others."""
    count, find = recipe.valid_scenes, find_by_file(finder)
    threshold = choose_threshold(detect(find, scenes, range(count)).birds, recipe.found_share)
    return threshold, compute_metrics(detect(find, scenes, range(count, 2 * count)), threshold)


def export_graph(detector: Detector) -> onnx.ModelProto:
    """Export a network for photos [N, H, W, 3], with N free, and H and W multiples of 32."""
    photo, free_axes = example_input()
    model = export_module(FinderGraph(detector), {"photo": photo}, list(OUTPUTS), free_axes)
    del model.graph.value_info[:]  # shapes as formulas of the free sides, a megabyte of them
    return model


def describe_finder(detector: Detector, run: FinderRun) -> dict:
    """Return the entries of a card that are known before the file is evaluated."""
    recipe, facts = run.recipe, read_json(run.facts_file)
    history = run.history
    return {
        "kind": "finder",
        "schema": SCHEMA,
        "name": recipe.name or run.folder.resolve().name,
        "version": version_of(stored_weights(detector), DEFAULT),
        "architecture": recipe.arch,
        "size": recipe.size,
        "fine": describe_fine_look(recipe),
        "stride": STRIDE,
        "threshold": MIN_SCORE,  # until the file is evaluated
        "threshold_rule": THRESHOLD_RULE,
        "preparation": {
            "filter": FINDER_FILTER,
            "sha256": fingerprints(recipe.size),
            "pillow": PIL.__version__,
        },
        "drawn_photo": describe_drawn_photo(detector),
        "trained_on": recipe.trained_on,
        "licence": recipe.licence or "not stated; ask the owner of this finder",
        "weights": facts.get("weights"),
        "photos": facts.get("photos"),
        "training": {
            "scenes": recipe.scenes,
            "epochs": len(history),
            "kept_epoch": int(history.loc[history["kept"], "epoch"].iloc[0]),
            "selection": "highest mean overlap of birds with their best box, on held-out scenes",
        },
        "recipe": recipe.model_dump(),
        "weights_dtype": DEFAULT,
        "opset": OPSET,
        "versions": package_versions(),
    }


def describe_fine_look(recipe: FinderRecipe) -> dict | None:
    """Return the card's entry `fine`: when the finder looks again, None if it never does."""
    if not recipe.fine_size:
        return None
    return {"size": recipe.fine_size, "score": recipe.fine_score, "share": recipe.fine_share}


def describe_drawn_photo(detector: Detector) -> dict[str, list]:
    """Return what torch computes for the drawn photo; the finder checks it when it loads."""
    with torch.no_grad():
        outputs = FinderGraph(detector).eval()(torch.from_numpy(drawn_input()))
    return {
        name: np.round(value[0].double().numpy(), DIGITS).tolist()
        for name, value in zip(OUTPUTS, outputs, strict=True)
    }
