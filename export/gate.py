"""The gate: a model file passes if the function predicts with it what the network predicts."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from fastapi.testclient import TestClient

from birds.api import create_app
from birds.classifier import ModelError
from birds.http.settings import Settings
from fieldmark.errors import GateError
from fieldmark.evaluation.predictions import Predictions, from_probability

TIE = 1e-4  # two labels whose probabilities differ by less may change places
TOLERANCE = 1e-3


def predict_over_http(
    model_file: Path, photos: Mapping[str, bytes], expected: Predictions
) -> tuple[Predictions, dict[str, str]]:
    """Send photos to the function one by one; return its predictions, and refusals by path.

    `expected` are the predictions for the same photos in the same order, whose labels, truth and
    splits are taken over. Values of a refused photo are NaN. Raises ModelError if the file cannot
    be served.
    """
    app = create_app(model_file, Settings(log=False))
    if app.state.fault:
        raise ModelError(app.state.fault)
    client, refusals = TestClient(app), {}
    labels = expected.labels
    probability = np.full((len(photos), len(labels)), np.nan)
    ood_score = np.full(len(photos), np.nan)
    for row, (path, data) in enumerate(photos.items()):
        response = client.post("/api/classify", params={"top": len(labels)}, content=data)
        if response.status_code != 200:
            refusals[path] = response.text
            continue
        answer = response.json()
        by_label = {each["label"]: each["probability"] for each in answer["predictions"]}
        probability[row] = [by_label.get(label, np.nan) for label in labels]
        ood_score[row] = answer["answer"]["unknown_score"]
    # predictions hold normalised probabilities, which would hide a sum that is not 1
    probability[np.abs(probability.sum(1) - 1) > TOLERANCE] = np.nan
    served = from_probability(
        probability,
        expected.temperature,
        labels=labels,
        paths=list(photos),
        truth=expected.truth,
        splits=expected.splits,
        subclass=expected.subclass,
        ood_score=ood_score,
    )
    return served, refusals


def check_gate(
    expected: Predictions, served: Predictions, refusals: Mapping[str, str]
) -> pd.DataFrame:
    """Return a row for each photo, the worst first, or raise GateError.

    The most probable labels must be equal, unless the two best of `expected` are within TIE, and
    every probability must be within TOLERANCE; so must the out-of-distribution scores, relative to
    those over 1.
    """
    names = np.array(expected.labels)
    probability, computed = expected.probability, served.probability
    scale = np.maximum(1.0, np.abs(expected.ood_score))
    report = pd.DataFrame(
        {
            "network": names[expected.predicted],
            "function": names[np.nan_to_num(computed, nan=-1.0).argmax(1)],
            "difference": np.nan_to_num(np.abs(probability - computed).max(1), nan=1.0),
            "ood_score_difference": np.nan_to_num(
                np.abs(expected.ood_score - served.ood_score) / scale, nan=1.0
            ),
        },
        index=pd.Index(expected.paths, name="photo"),
    )
    for path, text in refusals.items():
        report.loc[path, "function"] = text
    best = np.sort(probability, axis=1)[:, ::-1][:, :2]
    tie = (best[:, 0] - best[:, -1] <= TIE) & (len(names) > 1)
    close = report[["difference", "ood_score_difference"]].max(axis=1) <= TOLERANCE
    report["passed"] = close & (tie | (report["network"] == report["function"]))
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
