"""Turn a trained network into birds.onnx, and write what it takes to export the file again."""

from pathlib import Path
from typing import Any

import onnx
import pandas as pd
import yaml

from birds.classifier import Classifier
from export import quantization
from export.card import describe_data, describe_model
from export.checks import check_model_file
from export.drop import check_drop
from export.gate import check_gate, predict_over_http
from export.graph import Graph
from export.model_file import export_features, join_outputs, write_model
from export.predictions import (
    drawn_photos,
    held_out_photos,
    predict_held_out,
    predict_with_features,
    with_scores,
)
from export.weights_dtype import DEFAULT, convert, round_network
from fieldmark.errors import ExportError, GateError
from fieldmark.evaluation.ood import sample_photos
from fieldmark.evaluation.predictions import (
    Predictions,
    concatenate,
    predict,
    predict_with_file,
    read_photo,
)
from fieldmark.evaluation.uncertainty import (
    Uncertainty,
    UncertaintyOptions,
    describe_uncertainty,
    fit_uncertainty,
    list_unfamiliar,
)
from fieldmark.files import write_text
from fieldmark.network.network import Network
from fieldmark.replacement import replaced_by_export
from fieldmark.run import Run, write_table
from fieldmark.statistics import wilson_interval

BATCH_PHOTOS = 64  # held-out photos whose outputs are compared alone and in batches
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
) -> dict:
    """Round, calibrate, export and check a network; write its files into `out`; return the card.

    `photos` is the split table, `folder` holds its paths. `facts` are the entries of the card that
    only training knows (`name`, `trained_on`, `licence`, `weights`, `recipe` ...). `predictions`
    are those of `predict_held_out`, if they are computed already. Raises GateError, having written
    nothing but gate.csv, if the file predicts differently than the network, ModelFileError for a
    file that contradicts itself, and ExportError or DatasetError for unsuitable input.
    """
    if weights_dtype == "int8" and network.members:
        raise ExportError("An ensemble cannot compute in 8 bits. Set `weights_dtype: fp16`.")
    held_out = held_out_photos(photos)
    data = describe_data(photos, folder, facts["recipe"].get("allow_duplicates", False))
    before, after = predictions or predict_held_out(network, photos, folder, weights_dtype)
    rounded = round_network(network, weights_dtype)

    features = export_features(Graph(rounded).features, rounded.preparation.size)
    unfamiliar = list_unfamiliar(photos, options)
    choosing = unfamiliar[unfamiliar["chooses"]].groupby("split", sort=False)
    train = sample_photos(photos[photos["split"] == "train"])
    fitted = fit_uncertainty(
        after.of_split("valid"),
        predict_with_features(features, rounded, train, folder),
        {kind: predict_with_features(features, rounded, rows, folder) for kind, rows in choosing},
        options,
    )
    graph = Graph(rounded, fitted.temperature, fitted.score)
    model, entries = store(
        join_outputs(features, graph.outputs), rounded, photos, folder, weights_dtype
    )
    right = before.of_split("calibration").correct
    card = {"accuracy_before_rounding": wilson_interval(int(right.sum()), len(right))} | facts
    card |= describe_model(rounded, graph, weights_dtype) | {"data": data} | entries

    with replaced_by_export(out) as scratch_folder:
        scratch = Run(scratch_folder)
        file = scratch.model_file
        write_model(model, card, file)
        try:
            served, report, gate = check_file(
                file, weights_dtype, rounded, held_out, folder, before, after, fitted
            )
        except GateError as error:
            write_text(Run(out).gate_report_file, error.report.to_csv())
            raise
        card |= describe_uncertainty(
            served.of_split("calibration"),
            predict_unfamiliar(file, unfamiliar[~unfamiliar["chooses"]], folder),
            fitted,
            options,
            [label["family"] for label in card["labels"]],
        )
        card["gate"] = gate
        write_model(model, card, file)
        Classifier(file)  # raises ModelError unless the file loads with its final card
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


def predict_unfamiliar(
    file: Path, unfamiliar: pd.DataFrame, folder: Path
) -> dict[str, Predictions]:
    """Predict out-of-distribution photos of each kind by a file."""
    classifier = Classifier(file)
    return {
        str(kind): predict_with_file(classifier, rows, folder)
        for kind, rows in unfamiliar.groupby("split", sort=False)
    }


def check_file(
    file: Path,
    weights_dtype: str,
    network: Network,
    held_out: pd.DataFrame,
    folder: Path,
    before: Predictions,
    after: Predictions,
    fitted: Uncertainty,
) -> tuple[Predictions, pd.DataFrame, dict]:
    """Check a file by itself, at the gate and in the drop test.

    Returns the function's predictions, the gate's report, and the card's entry `gate`.
    """
    drawn, drawn_bytes = drawn_photos()
    photos = {path: read_photo(folder, path) for path in held_out["path"]} | drawn_bytes
    sample = held_out["path"].sample(min(BATCH_PHOTOS, len(held_out)), random_state=0)
    alone = check_model_file(file, {path: photos[path] for path in (*sample, *drawn_bytes)})
    if weights_dtype == "int8":
        # the drop test measures how 8 bits differ from the network; the function must predict
        # what the file does
        expected = predict_with_file(Classifier(file), pd.concat([held_out, drawn]), photos)
    else:
        (of_drawn,) = predict([network], drawn, drawn_bytes)
        expected = with_scores(concatenate([after, of_drawn]), fitted)
    served, refusals = predict_over_http(file, photos, expected)
    report = check_gate(expected, served, refusals)
    served = served.select(before.paths)
    drop = check_drop(weights_dtype, before.scaled(fitted.temperature), served)
    return (
        served,
        report,
        alone
        | {
            "photos": len(report),
            "largest_difference": float(report["difference"].max()),
            "agreement": drop["agreement"],
            "accuracy_drop": drop["accuracy_drop"],
        },
    )
