"""Turn a trained network into birds.onnx, and write what it takes to export the file again."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import onnx
import pandas as pd
import yaml

from birds.classifier import Classifier
from birds.decision import unknown_threshold
from birds.finder import Finder
from export import quantization
from export.card import describe_data, describe_model
from export.conversion import convert_models
from export.graph import Graph
from export.held_out import HeldOut, describe_finder, hold_out_grounds, search_kinds
from export.model_file import export_features, join_outputs, write_model
from export.predictions import features_predictor, held_out_photos, predict_held_out
from export.torch_files import write_copies
from export.verification import Expected, verify_file
from export.weights_dtype import DEFAULT, convert, round_network
from fieldmark.errors import ExportError
from fieldmark.evaluation.guarantees import describe_thresholds, describe_uncertainty
from fieldmark.evaluation.ood import sample_photos, score_proposals
from fieldmark.evaluation.predictions import Predictions
from fieldmark.evaluation.predictor import Predictor
from fieldmark.evaluation.search import search_photos
from fieldmark.evaluation.uncertainty import (
    UncertaintyOptions,
    fit_uncertainty,
    list_unfamiliar,
)
from fieldmark.files import write_text
from fieldmark.finder.finder_run import load_exported_detector
from fieldmark.network.network import Network
from fieldmark.replacement import keep_gate_report, replaced_by_export
from fieldmark.run import Run, write_table
from fieldmark.statistics import wilson_interval

DEFAULT_OPTIONS = UncertaintyOptions()


def export_model(
    network: Network,
    photos: pd.DataFrame,
    folder: Path,
    facts: dict[str, Any],
    out: Path,
    options: UncertaintyOptions = DEFAULT_OPTIONS,
    weights_dtype: str = DEFAULT,
    predictions: tuple[Predictions, Predictions] | None = None,
    formats: Collection[str] = (),
) -> dict:
    """Round, calibrate, export and check a network; write its files into `out`; return the card.

    `photos` is the split table, `folder` holds its paths. `facts` are the entries of the card that
    only training knows (`name`, `trained_on`, `licence`, `weights`, `recipe` ...). `predictions`
    are those of `predict_held_out`, if they are computed already. `formats` are those of further
    files, such as birds.pt2, beside birds.onnx; further files of earlier exports are removed.
    Raises GateError, having written nothing but gate.csv, if a file predicts differently than the
    network, ModelError for a file that contradicts itself or does not load, RunError for a finder
    without its weights, and ExportError or DatasetError for unsuitable input.
    """
    if weights_dtype == "int8" and network.members:
        raise ExportError("An ensemble cannot compute in 8 bits. Set `weights_dtype: fp16`.")
    if weights_dtype == "int8" and formats:
        raise ExportError(
            f"Only ONNX files compute in 8 bits, not {', '.join(formats)}. "
            "Set `weights_dtype: fp16`, or leave out `--format`."
        )
    detector = load_exported_detector(options.finder) if options.finder and formats else None
    selected = held_out_photos(photos)
    data = describe_data(photos, folder, facts["recipe"].get("allow_duplicates", False))
    before, after = predictions or predict_held_out(network, photos, folder, weights_dtype)
    rounded = round_network(network, weights_dtype)
    finder = Finder(options.finder) if options.finder else None

    unfamiliar = list_unfamiliar(photos, hold_out_grounds(options))
    grounds = [Path(path) for path in unfamiliar["path"][unfamiliar["is_ground"]]]
    held_out = HeldOut(selected, folder, finder, grounds)
    middle = held_out.look_at_middle(rounded, after)
    proposals = held_out.search(Predictor.of_network(rounded)) if finder else middle

    features = export_features(Graph(rounded).features, rounded.preparation.size)
    predictor = features_predictor(features, rounded)
    train = sample_photos(photos[photos["split"] == "train"])
    fitted = fit_uncertainty(
        proposals.of_split("valid"),
        search_photos(train, folder, None, predictor).crops,
        search_kinds(unfamiliar[unfamiliar["chooses"]], folder, finder, predictor),
        options,
    )
    graph = Graph(rounded, fitted.temperature, fitted.score)
    conversions = convert_models(formats, graph, rounded, weights_dtype, detector)
    model, entries = store(
        join_outputs(features, graph.outputs), rounded, photos, folder, weights_dtype
    )
    right = before.of_split("calibration").correct
    card = {"accuracy_before_rounding": wilson_interval(int(right.sum()), len(right))} | facts
    card |= describe_model(rounded, graph, weights_dtype) | {"data": data} | entries

    run = Run(out)
    owned = [file.name for file in run.further_files]
    kept_report = keep_gate_report(run.gate_report_file)
    with replaced_by_export(out, owned) as scratch_folder, kept_report:
        scratch = Run(scratch_folder)
        file = scratch.model_file
        write_model(model, card, file)
        if weights_dtype == "int8":
            # the drop test measures how 8 bits differ from the network; what is guaranteed, and
            # what the function must predict, is what the file does
            middle, proposals = held_out.search_by_file(file)
        else:
            pair, temperature = (middle, proposals), fitted.temperature
            middle, proposals = (score_proposals(fitted.score, each, temperature) for each in pair)
        calibration = proposals.of_split("calibration")
        card["thresholds"] = describe_thresholds(calibration, fitted, options)
        card["finder"] = describe_finder(finder, proposals)
        write_model(model, card, file)
        threshold = unknown_threshold(card)
        expected = Expected(held_out, weights_dtype, before, middle, proposals, threshold)
        report, card["gate"] = verify_file(file, expected)
        card |= describe_uncertainty(
            calibration,
            card["thresholds"],
            search_kinds(
                unfamiliar[unfamiliar["reports"]],
                folder,
                finder,
                Predictor.of_file(Classifier(file)),
            ),
            fitted,
            [label["family"] for label in card["labels"]],
        )
        write_model(model, card, file)
        Classifier(file)  # raises ModelError unless the file loads with its final card
        write_copies(conversions, card, scratch_folder, expected, detector)
        rounded.save(scratch.weights_file, card, weights_dtype)
        write_table(scratch.split_file, photos)
        recipe = yaml.safe_dump(card["recipe"], sort_keys=False, allow_unicode=True)
        write_text(scratch.recipe_file, recipe)
        write_text(scratch.gate_report_file, report.to_csv())
    return card


def store(
    model: onnx.ModelProto,
    network: Network,
    photos: pd.DataFrame,
    folder: Path,
    weights_dtype: str,
) -> tuple[onnx.ModelProto, dict]:
    """Return a float32 model in a dtype, and the entries of its card that differ for it."""
    if weights_dtype == "int8":
        return quantization.quantize_with_photos(model, network.preparation, photos, folder)
    return convert(model, weights_dtype), {}
