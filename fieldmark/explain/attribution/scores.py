"""Compare attribution methods by number, on photos that the network did not learn from."""

import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata
from torch.nn import functional

from fieldmark.errors import UserError
from fieldmark.evaluation.predictions import Predictions
from fieldmark.explain.attribution.methods import (
    CLASS_MAP,
    METHODS,
    RANDOM,
    attribute,
    compute_residual,
    create_logits,
)
from fieldmark.explain.attribution.removal import score_removal
from fieldmark.explain.explained_run import ExplainedRun
from fieldmark.explain.label_logits import LabelLogits
from fieldmark.statistics import bootstrap_interval, describe_interval

UNSUPPORTED = (UserError, RuntimeError, AssertionError, ValueError)  # ours, torch's, Captum's
MAX_RESIDUAL = 0.1  # an exact method that misses more of the logit does not fit the network
NO_MAP_SIDE = 7  # resolution at which methods are compared where the network has no map
MEASURES = {
    "deletion": "deletion score (low is good)",
    "insertion": "insertion score (high is good)",
    "agreement": "agreement with the class map (rank correlation)",
}


@dataclass
class Scores:
    """Scores of the methods that support a network.

    `table` has a row for each photo and method: path, method, deletion, insertion, agreement with
    the class map, seconds, and the residual of complete methods. `correlation` [n, M, M] are the
    rank correlations of M methods for each photo, at the resolution of the map, in the order of
    `methods`. `unsupported` says why others are missing.
    """

    methods: list[str]
    table: pd.DataFrame
    correlation: np.ndarray
    unsupported: dict[str, str] = field(default_factory=dict)


def sample_photos(predictions: Predictions, count: int, seed: int = 0) -> Predictions:
    """Return the predictions of a random sample of photos, or of all if there are not as many.

    A smaller sample of the same seed is the beginning of a larger one.
    """
    rows = np.random.default_rng(seed).permutation(len(predictions))
    return predictions.select(rows[:count])


def score_methods(
    explained: ExplainedRun,
    photos: Predictions,
    methods: Iterable[str] = tuple(METHODS),
    seed: int = 0,
) -> Scores:
    """Score methods on photos, each for the label that the network predicts.

    Photos are computed one by one, so that `seconds` (of CPUs) are those of one photo.
    """
    logits = create_logits(explained, photos.temperature)
    inputs = explained.network.preparation.normalize(explained.prepare(photos.paths))
    unsupported = find_unsupported(methods, logits, inputs[:1], photos.predicted[:1])
    supported = [name for name in methods if name not in unsupported]
    side = explained.network.backbone.map_size or {"height": NO_MAP_SIDE, "width": NO_MAP_SIDE}
    rows, correlation = [], []
    for path, photo, target in zip(photos.paths, inputs, photos.predicted, strict=True):
        seeds = seed + len(correlation)
        scored = [score_photo(name, logits, photo, target, seeds) for name in supported]
        maps = np.stack([values for _, values in scored])
        correlation.append(correlate_ranks(maps, (side["height"], side["width"])))
        rows += [
            {"path": path, "method": name} | row
            for name, (row, _) in zip(supported, scored, strict=True)
        ]
    table = pd.DataFrame(rows)
    stacked = np.stack(correlation)
    if CLASS_MAP in supported:
        table["agreement"] = stacked[:, supported.index(CLASS_MAP)].ravel()
    return Scores(supported, table, stacked, unsupported)


def find_unsupported(
    methods: Iterable[str], logits: LabelLogits, photo: torch.Tensor, target: np.ndarray
) -> dict[str, str]:
    """Return why methods do not support a network, by a photo [1, 3, S, S] and its label [1].

    An exact method must also account for the change of the logit.
    """
    reasons, targets = {}, torch.from_numpy(target)
    for name in methods:
        try:
            values = attribute(name, logits, photo, targets)
        except UNSUPPORTED as error:
            reasons[name] = (str(error) or type(error).__name__).strip().split("\n")[0]
            continue
        if METHODS[name].exact:
            (residual,) = compute_residual(values, logits, photo, targets)
            if not residual <= MAX_RESIDUAL:
                reasons[name] = f"attributions miss {residual:.0%} of the logit's change"
    return reasons


def score_photo(
    name: str, logits: LabelLogits, photo: torch.Tensor, target: int, seed: int
) -> tuple[dict, np.ndarray]:
    """Return the scores of a method for one photo [3, S, S], and its attributions [S, S]."""
    targets = torch.tensor([target])
    start = time.process_time()
    values = attribute(name, logits, photo[None], targets, seed)
    seconds = time.process_time() - start
    deletion, insertion = score_removal(logits, photo, values[0], target, seed)
    row = {"deletion": deletion, "insertion": insertion, "seconds": seconds}
    if METHODS[name].complete:
        row["residual"] = float(compute_residual(values, logits, photo[None], targets)[0])
    return row, values[0]


def correlate_ranks(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return Spearman's rank correlations [M, M] of maps [M, S, S], averaged to `size` first.

    That of a constant map is not a number.
    """
    pooled = functional.adaptive_avg_pool2d(torch.from_numpy(maps)[None], size)[0].flatten(1)
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.atleast_2d(np.corrcoef(rankdata(pooled.numpy(), axis=1)))


def summarize(scores: Scores) -> pd.DataFrame:
    """Return the mean of each measure with its interval, a row for each method and measure.

    Columns: method, measure, against, value, low, high, n. With `against`, the value is the mean
    difference from that method on the same photos. `seconds` are medians of the ratio to the
    class map, or seconds where there is none; `residual` is a median.
    """
    wide = scores.table.pivot(index="path", columns="method")
    rows = []
    for name in scores.methods:
        for measure in MEASURES:
            if measure not in wide:
                continue
            values = wide[measure]
            rows.append(describe(name, measure, "", values[name].to_numpy()))
            for other in (CLASS_MAP, RANDOM):
                if measure != "agreement" and other in values and other != name:
                    change = (values[name] - values[other]).to_numpy()
                    rows.append(describe(name, measure, other, change))
        seconds = wide["seconds"]
        ratio = seconds[name] / seconds[CLASS_MAP] if CLASS_MAP in seconds else seconds[name]
        rows.append(describe(name, "seconds", "", ratio.to_numpy(), np.median))
        if METHODS[name].complete:
            residual = wide["residual"][name].to_numpy()
            rows.append(describe(name, "residual", "", residual, np.median))
    return pd.DataFrame(rows)


def describe(name: str, measure: str, against: str, values: np.ndarray, statistic=np.mean) -> dict:
    """Return a statistic of values by photo, with its bootstrap interval, as a row."""
    values = values[np.isfinite(values)]
    figure = describe_interval(np.nan, np.nan, np.nan, len(values), "")
    if len(values) > 1:
        figure = bootstrap_interval((values,), statistic, proportion=False)
    elif len(values):
        figure["value"] = float(values[0])
    low, high = figure["interval"]
    row = {"method": name, "measure": measure, "against": against, "value": figure["value"]}
    return row | {"low": low, "high": high, "n": figure["n"]}


def tabulate_scores(scores: Scores, summary: pd.DataFrame) -> pd.DataFrame:
    """Return the summary as a table to read: a row for each method, also those not supported."""
    lookup = summary.set_index(["method", "measure", "against"])
    rows = []
    for name in scores.methods:
        row = {"method": name, "what it shows": METHODS[name].summary}
        for measure in MEASURES:
            for against in ("", CLASS_MAP, RANDOM):
                if (name, measure, against) in lookup.index:
                    title = f"{measure}, minus {against}" if against else measure
                    row[title] = format_figure(lookup.loc[(name, measure, against)])
        row["times the class map's seconds"] = f"{lookup.loc[(name, 'seconds', ''), 'value']:.1f}"
        if METHODS[name].complete:
            row["missed of the logit"] = f"{lookup.loc[(name, 'residual', ''), 'value']:.2%}"
        rows.append(row)
    rows += [
        {"method": name, "what it shows": f"not supported: {reason}"}
        for name, reason in scores.unsupported.items()
    ]
    return pd.DataFrame(rows).fillna("").set_index("method")


def format_figure(row: pd.Series) -> str:
    """Format a value and its interval."""
    return f"{row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
