"""Measure a model file by the answers that it gives, one photo at a time as the function asks."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from scipy.special import softmax

from birds.classifier import Classifier, Outputs
from fieldmark.evaluation import conformal
from fieldmark.evaluation.calibration import expected_error
from fieldmark.evaluation.ood import area
from fieldmark.statistics import bootstrap_interval, wilson_interval

FOLDS = 10
DRAWS = 1000


def asked(classifier: Classifier, photos: Iterable[Path | bytes]) -> Outputs:
    """Return the outputs of a model file for photos, files or bytes, each asked on its own."""
    read = (each if isinstance(each, bytes) else each.read_bytes() for each in photos)
    found = [classifier.predict(classifier.prepare_photo(data).pixels[None]) for data in read]
    return Outputs(*(np.concatenate(each) for each in zip(*found, strict=True)))


def thresholds(outputs: Outputs, truth: np.ndarray, score: str, level: float, rejected: float):
    """Return the card's thresholds from photos that played no part, and what lists were compared.

    Where the photos are too few for a promise, its threshold is None.
    """
    compared = conformal.compare(outputs.probability, truth, level)
    listed = conformal.rule(outputs.probability, truth, level, conformal.choose(compared))
    return bounded(outputs, listed, score, rejected), compared


def bounded(outputs: Outputs, listed: dict | None, score: str, rejected: float) -> dict:
    """Put a shortlist's rule and the threshold of `unknown` together."""
    threshold = conformal.quantile(outputs.unknown, 1 - rejected)
    strange = {"score": score, "rejected": rejected, "threshold": threshold}
    return {"shortlist": listed, "unknown": strange if threshold is not None else None}


def crossed(outputs: Outputs, truth: np.ndarray, chosen: dict, seed: int = 0):
    """Judge each photo by thresholds that the others gave, in ten folds: nobody judges itself.

    Returns whether its shortlist holds the truth, bool [n], the list's length, int [n], and
    whether it is called unknown, bool [n].
    """
    n = len(truth)
    held, size, strange = np.zeros(n, bool), np.ones(n, int), np.zeros(n, bool)
    fold = np.random.default_rng(seed).permutation(n) % FOLDS
    for each in range(FOLDS):
        inside, others = fold == each, fold != each
        rule, known = chosen["shortlist"], chosen["unknown"]
        if rule:
            rule = conformal.rule(
                outputs.probability[others], truth[others], rule["level"], rule["method"]
            )
        held[inside], size[inside] = conformal.lists(
            outputs.probability[inside], truth[inside], rule
        )
        if known:
            threshold = conformal.quantile(outputs.unknown[others], 1 - known["rejected"])
            strange[inside] = threshold is not None and outputs.unknown[inside] > threshold
    return held, size, strange


def metrics(outputs: Outputs, truth: np.ndarray, temperature: float, chosen: dict, families: list):
    """Measure accuracy, calibration, shortlists and rejections, each with a 95 % interval.

    Coverage and list sizes are of the photos that aren't called unknown. Returns the figures, and
    the coverage of each family of `families` [C], whose members may be None.
    """
    order = (-outputs.probability).argsort(1, kind="stable")
    rank, n = (order == truth[:, None]).argmax(1), len(truth)
    held, size, strange = crossed(outputs, truth, chosen)
    answered = ~strange
    figures = {
        "accuracy": wilson_interval(int((rank == 0).sum()), n),
        "top_5": wilson_interval(int((rank < 5).sum()), n),
        "ece_before": calibration_error(softened(outputs.probability, temperature), rank == 0),
        "ece": calibration_error(outputs.probability, rank == 0),
        "ece_of_perfection": perfection(outputs.probability),
        "known_called_unknown": wilson_interval(int(strange.sum()), n),
        "coverage": wilson_interval(int(held[answered].sum()), int(answered.sum())),
        "list_size": mean(size[answered]),
    }
    return figures, by_family(held[answered], truth[answered], families)


def softened(probability: np.ndarray, temperature: float) -> np.ndarray:
    """Return what probabilities [n, C] were before their logits were divided by a temperature."""
    return softmax(temperature * np.log(np.maximum(probability, np.finfo(np.float32).tiny)), axis=1)


def calibration_error(probability: np.ndarray, right: np.ndarray, seed: int = 0) -> dict:
    """Measure the expected calibration error with an interval by bootstrap."""
    sure = probability.max(1).astype(np.float64)
    return bootstrap_interval([sure, right], expected_error, resamples=DRAWS, seed=seed)


def perfection(probability: np.ndarray, seed: int = 0) -> dict:
    """Simulate the calibration error that so few photos show of probabilities that are true."""
    sure, chance = probability.max(1).astype(np.float64), np.random.default_rng(seed)
    n = len(sure)
    spread = [expected_error(sure, right) for right in chance.random((DRAWS, n)) < sure]
    low, high = np.quantile(spread, [0.025, 0.975])
    return {
        "value": round(float(np.mean(spread)), 4),
        "interval": [round(float(low), 4), round(float(high), 4)],
        "n": n,
        "method": "simulation",
    }


def mean(values: np.ndarray, seed: int = 0) -> dict:
    """Measure a mean with an interval by bootstrap."""
    return bootstrap_interval([values], np.mean, resamples=DRAWS, seed=seed)


def by_family(held: np.ndarray, truth: np.ndarray, families: list) -> dict[str, dict]:
    """Measure coverage in each family, the least covered first; the marginal one hides them."""
    family = np.array([families[place] or "" for place in truth])
    found = {
        name: wilson_interval(int(held[family == name].sum()), int((family == name).sum()))
        for name in sorted(set(family) - {""})
    }
    return dict(sorted(found.items(), key=lambda each: each[1]["value"]))


def strangers(known: np.ndarray, strange: np.ndarray, chosen: dict | None) -> dict[str, dict]:
    """Measure how well `unknown` parts known photos [n] from strange ones [m].

    `auroc` is the chance that a strange photo has the higher score, `called_unknown` the share of
    strange photos above the threshold of the card, if it has one.
    """
    found = {"auroc": separation(known, strange)}
    if chosen:
        above = int((strange > chosen["threshold"]).sum())
        found["called_unknown"] = wilson_interval(above, len(strange))
    return found


def separation(known: np.ndarray, strange: np.ndarray, seed: int = 0) -> dict:
    """Measure the area under the ROC curve with an interval by bootstrap, of both kinds alike."""
    return bootstrap_interval([known, strange], area, paired=False, resamples=DRAWS, seed=seed)
