"""Verify a model file: by itself, at the gate, and in the drop test."""

from pathlib import Path

import pandas as pd

from birds.identifier import AUTO, CENTER
from export.checks import check_model_file
from export.drop import check_drop
from export.gate import check_gate, expect_crops, predict_over_http
from export.held_out import HeldOut
from fieldmark.evaluation.predictions import Predictions
from fieldmark.evaluation.proposals import Proposals

BATCH_PHOTOS = 64  # held-out photos whose outputs are compared alone and in batches


def verify_file(
    files: tuple[Path, Path | None],
    weights_dtype: str,
    held_out: HeldOut,
    before: Predictions,
    middle: Proposals,
    proposals: Proposals,
    threshold: float | None,
) -> tuple[pd.DataFrame, dict]:
    """Return the gate's report and the card's entry `gate`.

    `files` are those of the model and of the finder, if any. The function must predict what was
    predicted for the `middle` squares of photos, and, with a finder, for the crop that is chosen
    among the `proposals` of each, with the threshold of unknown birds. `before` are the network's
    predictions before rounding. Raises ModelFileError for a file that contradicts itself, GateError
    for one that predicts differently.
    """
    file, finder_file = files
    source, photos = held_out.source, held_out.middle
    is_drawn = photos["split"] == "drawn"
    known = photos["path"][~is_drawn]
    sample = [
        *known.sample(min(BATCH_PHOTOS, len(known)), random_state=0),
        *photos["path"][is_drawn],
    ]
    alone = check_model_file(file, {path: source[path] for path in sample})
    where = CENTER if held_out.finder else AUTO
    served = predict_over_http(file, source, middle.crops, finder_file, where)
    report = check_gate(middle.crops, served)
    if held_out.finder:
        found = predict_over_http(file, source, proposals.choose(threshold), finder_file)
        searched = check_gate(*expect_crops(proposals, threshold, found))
        report = pd.concat([report, searched]).sort_values("difference", ascending=False)
    network = before.scaled(middle.crops.temperature)
    drop = check_drop(weights_dtype, network, served.predictions.select(before.paths))
    return report, alone | {
        "photos": len(report),
        "largest_difference": float(report["difference"].max()),
        "agreement": drop["agreement"],
        "accuracy_drop": drop["accuracy_drop"],
    }
