"""Which photos to take next, and which of the photos without labels to label first."""

from pathlib import Path

import numpy as np
import pandas as pd

from birds.classifier import Classifier
from birds.photo import PhotoError
from fieldmark.data.datasets import find_paths
from fieldmark.data.parallel import map_threads
from fieldmark.explain.explained_run import ExplainedRun
from fieldmark.explain.photos.active_learning import choose_typical, margin
from fieldmark.explain.photos.groups import MIN_TEST
from fieldmark.explain.photos.learning_curves import LearningCurves
from fieldmark.statistics import wilson_interval

SWITCH = 3  # labelled photos per species up to which typical ones are next; see docs/benchmarks.md
PRIOR = 10  # photos with the mean error of a group, for species with few of their own
BATCH = 32
MAX_PHOTOS = 20_000  # of larger folders a sample: a CPU takes about 15 ms for each photo
TOO_FEW, CLIMBS, UNKNOWN = "too few photos to measure", "expected gain", "no measured gain"
COLUMNS = ["rank", "path", "strategy", "predicted", "probability", "margin", "unknown_score"]
COLUMNS += ["unknown"]


def rank_species(
    curves: LearningCurves, labels: list[str], groups: dict[str, np.ndarray], gains: pd.DataFrame
) -> pd.DataFrame:
    """Return of which species to take photos next: those with too few photos to measure first.

    Then come those with the largest expected gain. The gain of a group is divided among its species
    by their errors, PRIOR photos of each with the mean error of the group. Columns: `species`,
    `group`, `photos` in the run, `n_test` of them that judge, `accuracy` of the probe with its
    Wilson interval, of the mean count over the repeats rounded to whole photos and only where
    MIN_TEST photos judge, `gain` as a share of 1, and the `reason` for the rank.
    """
    rows = []
    measured = {label: row for row in gains.itertuples() for label in groups[row.group]}
    for label, photos in enumerate(curves.available):
        right = curves.accuracy[-1, curves.truth == label] if len(curves.sizes) else np.zeros(0)
        row, n_test = measured.get(label), len(right)
        figures = (np.nan,) * 3
        if n_test >= MIN_TEST:
            figure = wilson_interval(round(right.sum()), n_test)
            figures = figure["value"], *figure["interval"]
        gain, reason = np.nan, TOO_FEW if photos < MIN_TEST else UNKNOWN
        if row and n_test:
            mean = 1 - row.accuracy
            error = (n_test - right.sum() + PRIOR * mean) / (n_test + PRIOR)
            gain, reason = row.gain * error / mean if mean else 0.0, CLIMBS
        group = row.group if row else ""
        rows.append([labels[label], group, photos, n_test, *figures, gain, reason])
    columns = ["species", "group", "photos", "n_test", "accuracy", "low", "high", "gain", "reason"]
    table = pd.DataFrame(rows, columns=columns)
    table = table.sort_values(["gain", "photos"], ascending=[False, True], kind="stable")
    order = np.argsort(table["reason"] != TOO_FEW, kind="stable")
    return table.iloc[order].reset_index(drop=True)


def rank_folder(explained: ExplainedRun, folder: str, seed: int = 0) -> tuple[pd.DataFrame, str]:
    """Return the table of `rank_unlabelled` for a folder, empty without one, and a sentence."""
    if not folder or not Path(folder).is_dir():
        reason = (
            f"There is no folder {folder}." if folder else "No photos without labels are given."
        )
        remedy = "Set `unlabelled` to the folder that holds them, and they are ranked."
        return pd.DataFrame(columns=COLUMNS), f"{reason} {remedy}"
    paths = find_paths(Path(folder), "**/*")
    table = rank_unlabelled(explained, Path(folder), sample_paths(paths, seed), seed)
    return table, describe_ranking(explained, table, len(paths))


def sample_paths(paths: list[str], seed: int) -> list[str]:
    """Return at most MAX_PHOTOS paths, in their order."""
    if len(paths) <= MAX_PHOTOS:
        return paths
    chosen = np.random.default_rng(seed).choice(len(paths), MAX_PHOTOS, replace=False)
    return [paths[number] for number in np.sort(chosen)]


def rank_unlabelled(
    explained: ExplainedRun, folder: Path, paths: list[str], seed: int = 0
) -> pd.DataFrame:
    """Rank photos of a folder for labelling, most useful first; columns: COLUMNS.

    While there are fewer than SWITCH labelled photos per species the next one is typical, then
    uncertain. Predictions are those of the model file for middle squares. `unknown` photos look
    like none of the species, and may be of a new one. Photos that cannot be decoded are left out.
    """
    table, embedding = predict_folder(explained.classifier, folder, paths)
    if table.empty:
        return pd.DataFrame(columns=COLUMNS)
    labelled = explained.predictions.embedding
    count = min(max(SWITCH * len(explained.labels) - len(labelled), 0), len(table))
    first = np.zeros(0, int)
    if count:
        features = np.concatenate([labelled, embedding])
        known = np.arange(len(features)) < len(labelled)
        first = choose_typical(features, known, count, seed) - len(labelled)
    rest = table.drop(index=first).sort_values("margin", kind="stable")
    table = pd.concat([table.loc[first].assign(strategy="typical"), rest], ignore_index=True)
    return table.assign(rank=np.arange(1, len(table) + 1))[COLUMNS]


def predict_folder(
    classifier: Classifier, folder: Path, paths: list[str]
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return predictions for those photos of a folder that can be decoded, and embeddings [n, D].

    Columns: those of COLUMNS that do not depend on the ranking; `strategy` is `uncertain`.
    """

    def prepare(path: str) -> np.ndarray | None:
        try:
            return classifier.prepare_photo((folder / path).read_bytes()).pixels
        except PhotoError:
            return None

    names, threshold = np.array(classifier.labels, object), unknown_threshold(classifier.card)
    tables, embeddings = [], []
    for start in range(0, len(paths), BATCH):
        batch = paths[start : start + BATCH]
        pixels = map_threads(prepare, batch)
        kept = [number for number, photo in enumerate(pixels) if photo is not None]
        if not kept:
            continue
        outputs = classifier.predict(np.stack([pixels[number] for number in kept]))
        facts = {
            "path": [batch[number] for number in kept],
            "strategy": "uncertain",
            "predicted": names[outputs.probability.argmax(1)],
            "probability": outputs.probability.max(1),
            "margin": margin(outputs.probability),
            "unknown_score": outputs.unknown,
            "unknown": outputs.unknown > (np.inf if threshold is None else threshold),
        }
        tables.append(pd.DataFrame(facts))
        embeddings.append(outputs.embedding)
    if not tables:
        return pd.DataFrame(columns=COLUMNS), np.zeros((0, 0))
    return pd.concat(tables, ignore_index=True), np.concatenate(embeddings)


def unknown_threshold(card: dict) -> float | None:
    """Return the score of a card above which a bird is called unknown, None without one."""
    return ((card.get("thresholds") or {}).get("unknown") or {}).get("threshold")


def describe_ranking(explained: ExplainedRun, table: pd.DataFrame, found: int) -> str:
    """Return by which strategy photos are ranked, and how many may be of a new species.

    `found` is how many photos the folder has, of which a sample may be ranked.
    """
    if table.empty:
        return "There is no photo in the folder `unlabelled` that can be decoded."
    mean = len(explained.photos) / len(explained.labels)
    counts = table["strategy"].value_counts()
    order = " then ".join(
        f"the {counts[name]} most {name}" for name in ("typical", "uncertain") if name in counts
    )
    sample = f" (a sample of {MAX_PHOTOS:,} of {found:,})" if found > MAX_PHOTOS else ""
    return (
        f"The run has {mean:.0f} labelled photos per species, and typical ones teach most up to "
        f"{SWITCH}: label {order} of {len(table)}{sample}. {int(table['unknown'].sum())} of them "
        "look like none of the species, and may be of a new one."
    )
