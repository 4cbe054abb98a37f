"""Predictions of photos as they are and pasted small: their accuracy, and the difference of two."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from fieldmark.errors import RunError
from fieldmark.evaluation.predictions import predict
from fieldmark.network.network import Network
from fieldmark.statistics import mcnemar_test, paired_difference_interval, wilson_interval
from fieldmark.training.pasted_crops import PastedCrops

WHOLE = "as they are"
COLUMNS = ["fold", "path", "label", "predicted", "view", "edge"]


def predict_views(
    networks: Sequence[Network], photos: pd.DataFrame, folder: Path, grounds: Sequence[Path]
) -> list[pd.DataFrame]:
    """Predict photos as they are, and pasted at each share.

    Returns a table for each network, with all COLUMNS but `fold`.
    """
    pasted = PastedCrops(photos, folder, grounds)
    views = pasted.table["share"].map("{:.0%} of the side".format)
    columns = {"view": views, "edge": pasted.table["edge"], "path": pasted.table["original"]}
    predicted = zip(
        predict(networks, photos, folder),
        predict(networks, pasted.table, pasted),
        strict=True,
    )
    return [
        pd.concat(
            [whole.table.assign(view=WHOLE, edge=""), small.table.assign(**columns)],
            ignore_index=True,
        )
        for whole, small in predicted
    ]


def summarize_views(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracy of each view, and of each edge of pasted photos, with its interval."""
    correct = predictions["label"] == predictions["predicted"]
    by_view = correct.groupby(predictions["view"].rename(None), sort=False)
    is_pasted = predictions["edge"] != ""
    by_edge = correct[is_pasted].groupby("edge, " + predictions["edge"])
    rows = {}
    for name, values in [*by_view, *by_edge]:
        accuracy = wilson_interval(int(values.sum()), len(values))
        low, high = accuracy["interval"]
        rows[name] = {"accuracy": accuracy["value"], "low": low, "high": high, "n": len(values)}
    return pd.DataFrame(rows).T.astype({"n": int})


def compare_views(predictions: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Return how much better predictions are than others of the same photos, in points, by view.

    With a 95 % interval (Bonett and Price 2012) and the p value of McNemar's test. Raises RunError
    if the photos differ.
    """
    keys = ["view", "path"]
    merged = predictions.merge(other, on=keys, suffixes=("", "_other"), validate="1:1")
    if not len(merged) == len(predictions) == len(other):
        raise RunError("The two cross-validations are of different photos and cannot be compared.")
    rows: dict[str, Mapping] = {}
    for view, photos in merged.groupby("view", sort=False):
        right, others = (photos["label"] == photos[key] for key in ("predicted", "predicted_other"))
        won, lost, n = int((right & ~others).sum()), int((others & ~right).sum()), len(photos)
        low, high = paired_difference_interval(won, lost, n)
        points = {"points": won - lost, "low": n * low, "high": n * high}
        rows[str(view)] = {key: round(100 * value / n, 2) for key, value in points.items()}
        rows[str(view)] |= {"p": mcnemar_test(won, lost)}
    return pd.DataFrame(rows).T
