"""The gate: a model file passes if the function predicts with it what the network predicts."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from fastapi.testclient import TestClient

from birds.api import create_identifier_app
from birds.http.settings import Settings
from birds.identifier import AUTO, Identifier
from birds.workers.decoder import job_decoder
from fieldmark.errors import GateError
from fieldmark.evaluation.predictions import Predictions, from_probability
from fieldmark.evaluation.proposals import Proposals

TIE = 1e-4  # two labels whose probabilities differ by less may change places, and so may two crops
TOLERANCE = 1e-3


class Served(NamedTuple):
    """What the function answered to n photos.

    Values of `predictions` are NaN for refused photos, whose answers are in `refusals`, by path.
    `crops` [n] are left, top, width, height and source.
    """

    predictions: Predictions
    refusals: dict[str, str]
    crops: list[tuple]


def predict_over_http(
    identifier: Identifier,
    photos: Mapping[str, bytes],
    expected: Predictions,
    where: str = AUTO,
) -> Served:
    """Send photos one by one to the function, which serves a loaded model.

    `expected` are the predictions for the same photos in the same order, whose labels, truth and
    splits are taken over. `where` says whether the finder decides where the function looks.
    """
    app = create_identifier_app(identifier, Settings(log=False), decoder=job_decoder())
    client, refusals = TestClient(app), {}
    labels, crops = expected.labels, []
    probability = np.full((len(expected), len(labels)), np.nan)
    ood_score = np.full(len(expected), np.nan)
    for row, path in enumerate(expected.paths):
        options = {"top": len(labels), "crop": where}
        response = client.post("/api/classify", params=options, content=photos[path])
        if response.status_code != 200:
            refusals[path] = response.text
            crops.append(())
            continue
        answer = response.json()
        by_label = {each["label"]: each["probability"] for each in answer["predictions"]}
        probability[row] = [by_label.get(label, np.nan) for label in labels]
        ood_score[row] = answer["answer"]["unknown_score"]
        crops.append((*answer["photo"]["crop"], answer["photo"]["crop_from"]))
    # predictions hold normalised probabilities, which would hide a sum that is not 1
    probability[np.abs(probability.sum(1) - 1) > TOLERANCE] = np.nan
    predictions = from_probability(
        probability,
        expected.temperature,
        labels=labels,
        paths=expected.paths,
        truth=expected.truth,
        splits=expected.splits,
        subclass=expected.subclass,
        ood_score=ood_score,
    )
    return Served(predictions, refusals, crops)


def expect_crops(
    proposals: Proposals, threshold: float | None, served: Served
) -> tuple[Predictions, Served, list[tuple]]:
    """Return what `check_gate` compares: the predictions for the crops to choose, and these crops.

    Where two crops are equally good, within TIE, the one that was served is expected.
    """
    rows, scores = proposals.choose_rows(threshold), proposals.crops.ood_score
    for photo, (start, count) in enumerate(zip(proposals.starts, proposals.counts, strict=True)):
        closeness = TIE * max(1.0, abs(scores[start]))
        first_is_close = threshold is not None and abs(scores[start] - threshold) <= closeness
        for row in range(start, start + count):
            is_served = tuple(proposals.squares[row][:5]) == served.crops[photo]
            if is_served and (first_is_close or scores[row] - scores[rows[photo]] <= closeness):
                rows[photo] = row
    crops = [tuple(proposals.squares[row][:5]) for row in rows]
    return proposals.crops.select(rows), served, crops


def check_gate(
    expected: Predictions, served: Served, crops: list[tuple] | None = None
) -> pd.DataFrame:
    """Return a row for each photo, the worst first, or raise GateError.

    The most probable labels must be equal, unless the two best of `expected` are within TIE, and
    every probability must be within TOLERANCE; so must the out-of-distribution scores, relative to
    those over 1. The function must have looked at `crops`, if they are given.
    """
    names, predictions = np.array(expected.labels), served.predictions
    probability, computed = expected.probability, predictions.probability
    scale = np.maximum(1.0, np.abs(expected.ood_score))
    report = pd.DataFrame(
        {
            "network": names[expected.predicted],
            "function": names[np.nan_to_num(computed, nan=-1.0).argmax(1)],
            "difference": np.nan_to_num(np.abs(probability - computed).max(1), nan=1.0),
            "ood_score_difference": np.nan_to_num(
                np.abs(expected.ood_score - predictions.ood_score) / scale, nan=1.0
            ),
            "crop": [describe_crop(crop) for crop in crops or served.crops],
            "function_crop": [describe_crop(crop) for crop in served.crops],
        },
        index=pd.Index(expected.paths, name="photo"),
    )
    for path, text in served.refusals.items():
        report.loc[path, "function"] = text
    best = np.sort(probability, axis=1)[:, ::-1][:, :2]
    tie = (best[:, 0] - best[:, -1] <= TIE) & (len(names) > 1)
    close = report[["difference", "ood_score_difference"]].max(axis=1) <= TOLERANCE
    same_crop = report["crop"] == report["function_crop"]
    report["passed"] = close & same_crop & (tie | (report["network"] == report["function"]))
    report = report.sort_values(["passed", "difference"], ascending=[True, False])
    failed = report[~report["passed"]]
    if len(failed):
        raise GateError(
            f"The function's predictions differ from the network's for {len(failed)} of "
            f"{len(report)} photos, so no model file was written. Export again with the code that "
            f"trained the network. The largest differences:\n{failed.head(10).to_string()}",
            report,
        )
    return report


def describe_crop(crop: tuple) -> str:
    """Format left, top, width, height and source of a crop; empty for a refused photo."""
    return " ".join(map(str, crop))
