"""Photos whose label is probably wrong: confident learning on out-of-fold probabilities."""

import warnings

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from scipy.special import softmax

from fieldmark.data.subclasses import class_names
from fieldmark.evaluation.calibration import fit_temperature
from fieldmark.explain.explained_run import ExplainedRun
from fieldmark.explain.folds import split_folds
from fieldmark.explain.pretrained import standardise_features
from fieldmark.network.probe import fit_probe

SHOWN = 50  # labels that are shown and to be decided


def find_label_errors(
    explained: ExplainedRun, features: np.ndarray, folds: int = 5, seed: int = 0
) -> pd.DataFrame:
    """List the photos of a run, the most doubtful label first.

    `features` [n, D] are those of `compute_pretrained_features`, which never saw a label. Columns:
    path, split, label, those of `judge_labels`, network (what the run's network predicts) and
    network_agrees (whether that is the label; it saw the labels of `train`). Labels are
    sub-classes, where the run has those.
    """
    photos = explained.photos
    names, labels = np.unique(class_names(photos).to_numpy(str), return_inverse=True)
    probability = predict_out_of_fold(features, labels, photos, folds, seed)
    table = judge_labels(probability, labels)
    predicted = np.array(explained.labels, object)[explained.predictions.predicted]
    suggested = names[table["suggested"]]
    table = table.assign(label=names[labels], suggested=suggested, network=predicted)
    table["network_agrees"] = predicted == photos["label"].to_numpy()
    table = table.assign(path=photos["path"], split=photos["split"])
    table = sort_labels(table).reset_index(drop=True)
    first = ["path", "split", "label"]
    return table[[*first, *table.columns.drop(first)]]


def predict_out_of_fold(
    features: np.ndarray, labels: np.ndarray, photos: pd.DataFrame, folds: int = 5, seed: int = 0
) -> np.ndarray:
    """Return the probability of each label for each photo, [n, C], by probes that never saw it.

    `labels` [n] are 0 to C - 1; near-duplicates of `photos` are in one fold. One temperature for
    all photos calibrates them. The row of a photo without another one of its label is NaN; so
    are all rows if each label has one photo.
    """
    photos = photos.assign(label=labels)
    logits = np.full((len(labels), labels.max() + 1), -np.inf)
    folds = min(folds, int(np.bincount(labels).max()))
    if folds < 2:
        return np.full(logits.shape, np.nan)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        splits = list(split_folds(photos, folds, seed))
    for train, judged in splits:
        known, classes = np.unique(labels[train], return_inverse=True)
        if len(known) > 1:
            probe = fit_probe(features[train], classes)
            logits[np.ix_(judged, known)] = probe.logits(features[judged])
    own = logits[np.arange(len(labels)), labels]
    known = np.isfinite(own)
    probability = np.full(logits.shape, np.nan)
    finite = np.maximum(logits[known], -1e9)
    probability[known] = softmax(finite / fit_temperature(finite, labels[known]), axis=1)
    return probability


def judge_labels(probability: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """Judge labels [n] by probabilities [n, C] that were computed without them.

    Columns: suggested (the most probable other label), self_confidence and suggested_probability
    (of the label and of the suggestion), quality (the normalised margin between both, from 0, the
    worst, to 1) and flagged: whether confident learning counts the label as an error (Northcutt et
    al. 2021). Photos of NaN have NaN, and are not flagged.
    """
    rows = np.arange(len(labels))
    known = np.isfinite(probability).all(axis=1)
    others = np.where(known[:, None], probability, 0)
    others[rows, labels] = -1
    suggested = others.argmax(1)
    quality, flagged = np.full(len(labels), np.nan), np.zeros(len(labels), bool)
    if len(np.unique(labels[known])) > 1:
        judged = labels[known], probability[known]
        quality[known] = get_label_quality_scores(*judged, method="normalized_margin")
        flagged[known] = find_label_issues(*judged, filter_by="confident_learning", n_jobs=1)
    return pd.DataFrame(
        {
            "suggested": suggested,
            "self_confidence": probability[rows, labels],
            "suggested_probability": probability[rows, suggested],
            "quality": quality,
            "flagged": flagged,
        }
    )


def sort_labels(table: pd.DataFrame) -> pd.DataFrame:
    """Sort a table of `judge_labels`: flagged labels first, and the lowest quality first.

    The margin finds labels that another species fits better. Self-confidence alone would put
    unusual photos first, such as those of a bird's back, whose label is right.
    """
    return table.sort_values(["flagged", "quality"], ascending=[False, True], kind="stable")


def find_typical_photos(
    features: np.ndarray, errors: pd.DataFrame, paths: list[str]
) -> dict[str, str]:
    """Return the path of the most typical photo of each label: the nearest to their centre.

    `features` [n, D] are those of `paths`, `errors` is a table of `find_label_errors`, whose
    flagged photos are left out where others are left.
    """
    rows = errors.set_index("path").loc[paths]
    scaled = standardise_features(features)
    typical = {}
    for label, members in rows.assign(row=np.arange(len(rows))).groupby("label"):
        trusted = members[~members["flagged"]]
        chosen = (trusted if len(trusted) else members)["row"].to_numpy()
        distance = np.linalg.norm(scaled[chosen] - scaled[chosen].mean(0), axis=1)
        typical[str(label)] = paths[chosen[distance.argmin()]]
    return typical
