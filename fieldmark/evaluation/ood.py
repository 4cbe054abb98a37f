"""Out-of-distribution scores that fit in the graph; each is higher for less familiar photos."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata
from sklearn.covariance import ledoit_wolf
from torch import nn
from torch.nn import functional

from fieldmark.evaluation.predictions import Predictions
from fieldmark.evaluation.proposals import Proposals

FIT_PHOTOS = 1000  # training photos that scores are fitted to
FEW_CLASSES = 10  # at most so many logits do not separate classes well


class OodScore(nn.Module):
    """Score embeddings [N, D] and logits [N, C] divided by the temperature: float32 [N]."""

    def forward(self, embedding: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Return the score."""
        raise NotImplementedError


class MaximumSoftmax(OodScore):
    """One minus the highest probability (Hendrycks and Gimpel 2017)."""

    def forward(self, embedding, logits):
        """Return the score."""
        return 1 - logits.softmax(1).amax(1)


class Energy(OodScore):
    """Negative logarithm of the summed exponentials of the logits (Liu et al. 2020)."""

    def forward(self, embedding, logits):
        """Return the score."""
        return -logits.logsumexp(1)


class Mahalanobis(OodScore):
    """Mahalanobis distance to the nearest class mean (Lee et al. 2018), squared, divided by D.

    All classes share a covariance, shrunk as Ledoit and Wolf (2004) do.
    """

    def __init__(self, train: Predictions):
        super().__init__()
        means = class_means(train.embedding, train.truth)
        classes = np.unique(train.truth, return_inverse=True)[1]
        covariance, _ = ledoit_wolf(train.embedding - means[classes], assume_centered=True)
        self.register_buffer("centre", to_float(means.mean(0)))
        self.register_buffer("whiten", to_half(np.linalg.cholesky(np.linalg.inv(covariance))))
        self.register_buffer("means", to_float(means - means.mean(0)) @ self.whiten)

    def forward(self, embedding, logits):
        """Return the score."""
        white = (embedding - self.centre) @ self.whiten
        inner = white @ self.means.T
        squared = (white**2).sum(1, keepdim=True) - 2 * inner + (self.means**2).sum(1)
        return squared.amin(1) / embedding.shape[1]


class NearestNeighbour(OodScore):
    """One minus the cosine to the nearest training photo's embedding (Sun et al. 2022, k = 1)."""

    def __init__(self, train: Predictions):
        super().__init__()
        bank = train.embedding / np.linalg.norm(train.embedding, axis=1, keepdims=True)
        self.register_buffer("bank", to_half(bank.T))

    def forward(self, embedding, logits):
        """Return the score."""
        return 1 - (functional.normalize(embedding) @ self.bank).amax(1)


class MeanLogits(OodScore):
    """One minus the cosine to the nearest class's mean logits (as in Bendale and Boult 2016).

    Logits are taken without their mean, which softmax ignores.
    """

    def __init__(self, train: Predictions):
        super().__init__()
        means = class_means(train.scaled_logits, train.truth)
        means = means - means.mean(1, keepdims=True)
        self.register_buffer("means", to_half(means.T / np.linalg.norm(means, axis=1)))

    def forward(self, embedding, logits):
        """Return the score."""
        centred = functional.normalize(logits - logits.mean(1, keepdim=True))
        return 1 - (centred @ self.means).amax(1)


SCORES = {
    "msp": lambda train: MaximumSoftmax(),
    "energy": lambda train: Energy(),
    "mahalanobis": Mahalanobis,
    "knn": NearestNeighbour,
    "mean_logits": MeanLogits,
}


def class_means(values: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the mean of the values [n, D] of each class that occurs in `truth`, float64 [C, D]."""
    return pd.DataFrame(values.astype(np.float64)).groupby(truth).mean().to_numpy()


def to_float(values: np.ndarray) -> torch.Tensor:
    """Convert to a float32 tensor."""
    return torch.from_numpy(np.asarray(values, np.float32))


def to_half(values: np.ndarray) -> torch.Tensor:
    """Round to float16, as the model file stores it; return float32."""
    return to_float(np.asarray(values, np.float16))


def sample_photos(photos: pd.DataFrame, count: int = FIT_PHOTOS) -> pd.DataFrame:
    """Return about `count` photos, equally many of each label where possible, by a fixed seed."""
    per_label = max(count // photos["label"].nunique(), 2)
    shuffled = photos.sample(frac=1, random_state=0)
    return shuffled.groupby("label").head(per_label).sort_values("path")


def fit_scores(train: Predictions, names: Iterable[str] = SCORES) -> dict[str, OodScore]:
    """Fit scores to predictions of training photos."""
    train.require_split("train", "Fitting out-of-distribution scores")
    return {name: SCORES[name](train) for name in names}


def compute_score(score: OodScore, predictions: Predictions, temperature: float) -> np.ndarray:
    """Return the score of each photo, [n]."""
    logits = to_float(predictions.scaled(temperature).scaled_logits)
    with torch.no_grad():
        return score(to_float(predictions.embedding), logits).numpy()


def auroc(familiar: np.ndarray, unfamiliar: np.ndarray) -> float:
    """Return the area under the ROC curve of scores [n] and [m]: 1 separates, 0.5 is chance.

    From the sum of ranks (Mann and Whitney 1947), in a twentieth of the time of scikit-learn's
    roc_auc_score, which a bootstrap needs.
    """
    n, m = len(familiar), len(unfamiliar)
    ranks = rankdata(np.concatenate([familiar, unfamiliar]))[n:]
    return float((ranks.sum() - m * (m + 1) / 2) / (n * m))


def score_proposals(score: OodScore, proposals: Proposals, temperature: float) -> Proposals:
    """Return proposals whose crops have a temperature and its scores."""
    values = compute_score(score, proposals.crops, temperature)
    crops = replace(proposals.crops, temperature=temperature, ood_score=values)
    return replace(proposals, crops=crops)


def compare_scores(
    scores: Mapping[str, OodScore],
    valid: Proposals,
    unfamiliar: Mapping[str, Proposals],
    temperature: float,
) -> dict[str, dict[str, float]]:
    """Return the AUROC of each score for each kind of unfamiliar photos against `valid`.

    The score of a photo is the lowest of the crops that are proposed in it.
    """
    valid.crops.require_split("valid", "Choosing an out-of-distribution score")
    weight = valid.weight
    repeats = np.round(weight / weight[weight > 0].min()).astype(int)
    compared = {}
    for name, score in scores.items():
        familiar = score_proposals(score, valid, temperature).lowest_score.repeat(repeats)
        compared[name] = {
            kind: round(
                auroc(familiar, score_proposals(score, photos, temperature).lowest_score), 4
            )
            for kind, photos in unfamiliar.items()
        }
    return compared


def choose_score(compared: Mapping[str, Mapping[str, float]], classes: int) -> str:
    """Return the score with the highest mean AUROC over all kinds of unfamiliar photos.

    Without any: `mean_logits`, the best of 80 species, or `knn` for few classes.
    """
    if not any(compared.values()):
        return "mean_logits" if classes > FEW_CLASSES else "knn"
    return max(compared, key=lambda name: sum(compared[name].values()))
