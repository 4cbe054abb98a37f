"""Verify a model file: by itself, at the gate, and in the drop test."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from birds.classifier import Classifier
from birds.identifier import AUTO, CENTER, Identifier
from export.checks import check_model_file
from export.drop import check_drop
from export.gate import check_gate, expect_crops, predict_over_http
from export.held_out import HeldOut
from fieldmark.evaluation.predictions import Predictions
from fieldmark.evaluation.proposals import Proposals

BATCH_PHOTOS = 64  # held-out photos whose outputs are compared alone and in batches


class Expected(NamedTuple):
    """What a model file must predict for the photos of `held_out`.

    `middle` are the network's predictions for their middle squares, `proposals` those for the crops
    that the finder, if any, proposes in each photo; one is chosen with the `threshold` of unknown
    birds. `before` are those before weights were rounded to `weights_dtype`.
    """

    held_out: HeldOut
    weights_dtype: str
    before: Predictions
    middle: Proposals
    proposals: Proposals
    threshold: float | None

    def sample_photos(self) -> dict[str, bytes]:
        """Return photos whose outputs are compared alone and in batches."""
        source, photos = self.held_out.source, self.held_out.middle
        is_drawn = photos["split"] == "drawn"
        known = photos["path"][~is_drawn]
        known = known.sample(min(BATCH_PHOTOS, len(known)), random_state=0)
        return {path: source[path] for path in (*known, *photos["path"][is_drawn])}


def verify_file(file: Path, expected: Expected) -> tuple[pd.DataFrame, dict]:
    """Return the gate's report on an ONNX file, and the card's entry `gate`.

    Raises ModelFileError for a file that contradicts itself, GateError for one that predicts
    differently.
    """
    alone = check_model_file(file, expected.sample_photos())
    identifier = Identifier(Classifier(file), expected.held_out.finder)
    return verify_identifier(identifier, alone, expected)


def verify_identifier(
    identifier: Identifier, alone: dict, expected: Expected
) -> tuple[pd.DataFrame, dict]:
    """Return the gate's report on a loaded model with its finder, and the card's entry `gate`.

    `alone` says how the outputs of photos alone differ from those in batches. Raises GateError if
    the model predicts differently.
    """
    held_out, middle, proposals = expected.held_out, expected.middle, expected.proposals
    source = held_out.source
    where = CENTER if held_out.finder else AUTO
    served = predict_over_http(identifier, source, middle.crops, where)
    report = check_gate(middle.crops, served)
    if held_out.finder:
        chosen = proposals.choose(expected.threshold)
        found = predict_over_http(identifier, source, chosen)
        searched = check_gate(*expect_crops(proposals, expected.threshold, found))
        report = pd.concat([report, searched]).sort_values("difference", ascending=False)
    network = expected.before.scaled(middle.crops.temperature)
    predictions = served.predictions.select(expected.before.paths)
    drop = check_drop(expected.weights_dtype, network, predictions)
    return report, alone | {
        "photos": len(report),
        "largest_difference": float(report["difference"].max()),
        "agreement": drop["agreement"],
        "accuracy_drop": drop["accuracy_drop"],
    }
