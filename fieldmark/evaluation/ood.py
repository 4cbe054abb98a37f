"""How strange a photo is to a model: scores that fit in the graph, each higher the stranger."""

import numpy as np
import pandas as pd
import torch
from scipy.stats import mannwhitneyu
from sklearn.covariance import ledoit_wolf
from torch import nn
from torch.nn import functional

from export.look import Look

SAMPLE = 4000  # training photos that scores are fitted to
FEW = 10  # classes, whose logits have too few directions to be told apart by


class Score(nn.Module):
    """Score embeddings [N, D] and logits [N, C] that the temperature has divided: float32 [N]."""

    def forward(self, embedding: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Return the strangeness."""
        raise NotImplementedError


class Probability(Score):
    """One minus the highest probability (Hendrycks and Gimpel 2017)."""

    def forward(self, embedding, logits):
        """Return the strangeness."""
        return 1 - logits.softmax(1).amax(1)


class Energy(Score):
    """Minus the logarithm of what all logits add up to (Liu et al. 2020)."""

    def forward(self, embedding, logits):
        """Return the strangeness."""
        return -logits.logsumexp(1)


class Mahalanobis(Score):
    """The distance to the nearest class mean, by what varies within classes (Lee et al. 2018).

    The covariance is shrunk as Ledoit and Wolf (2004) do. Squared, and divided by D.
    """

    def __init__(self, taught: Look, truth: np.ndarray):
        super().__init__()
        means = class_means(taught.embedding, truth)
        covariance, _ = ledoit_wolf(taught.embedding - means[truth], assume_centered=True)
        self.register_buffer("centre", floats(means.mean(0)))
        self.register_buffer("whiten", halves(np.linalg.cholesky(np.linalg.inv(covariance))))
        self.register_buffer("means", floats(means - means.mean(0)) @ self.whiten)

    def forward(self, embedding, logits):
        """Return the strangeness."""
        seen = (embedding - self.centre) @ self.whiten
        inner = seen @ self.means.T
        squared = (seen**2).sum(1, keepdim=True) - 2 * inner + (self.means**2).sum(1)
        return squared.amin(1) / embedding.shape[1]


class Neighbours(Score):
    """One minus the cosine to the nearest training photo's embedding (Sun et al. 2022)."""

    def __init__(self, taught: Look, truth: np.ndarray):
        super().__init__()
        embedding = taught.embedding
        bank = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
        self.register_buffer("bank", halves(bank.T))

    def forward(self, embedding, logits):
        """Return the strangeness."""
        return 1 - (functional.normalize(embedding) @ self.bank).amax(1)


class MeanLogits(Score):
    """One minus the cosine to the nearest class's mean logits (as in Bendale and Boult 2016).

    A bird that the model knows speaks for some labels and against others as its like did; a
    stranger mixes them otherwise. Logits are taken without their mean, which softmax ignores.
    """

    def __init__(self, taught: Look, truth: np.ndarray):
        super().__init__()
        means = class_means(taught.logits, truth)
        means = means - means.mean(1, keepdims=True)
        self.register_buffer("means", halves(means.T / np.linalg.norm(means, axis=1)))

    def forward(self, embedding, logits):
        """Return the strangeness."""
        centred = functional.normalize(logits - logits.mean(1, keepdim=True))
        return 1 - (centred @ self.means).amax(1)


def class_means(values: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the mean [C, D] of the values [n, D] of each class, float64."""
    return pd.DataFrame(values.astype(np.float64)).groupby(truth).mean().to_numpy()


def floats(values: np.ndarray) -> torch.Tensor:
    """Return float32."""
    return torch.from_numpy(np.asarray(values, np.float32))


def halves(values: np.ndarray) -> torch.Tensor:
    """Return float32 that float16 holds exactly, as the model file stores it."""
    return floats(np.asarray(values, np.float16))


SCORES = {
    "msp": lambda taught, truth: Probability(),
    "energy": lambda taught, truth: Energy(),
    "mahalanobis": Mahalanobis,
    "knn": Neighbours,
    "mean_logits": MeanLogits,
}


def sample(photos: pd.DataFrame, count: int = SAMPLE) -> pd.DataFrame:
    """Return up to `count` photos, as many of each label as can be, by a fixed seed."""
    each = max(count // photos["label"].nunique(), 2)
    shuffled = photos.sample(frac=1, random_state=0)
    return shuffled.groupby("label").head(each).sort_values("path")


def fit(taught: Look, truth: np.ndarray) -> dict[str, Score]:
    """Fit every score to what was made of training photos, and their labels [n], 0 to C - 1."""
    return {name: make(taught, truth) for name, make in SCORES.items()}


def score(module: Score, seen: Look, temperature: float) -> np.ndarray:
    """Return the strangeness [n] of what a Learner made of photos."""
    with torch.no_grad():
        return module(floats(seen.embedding), floats(seen.logits / temperature)).numpy()


def compare(
    scores: dict[str, Score], known: Look, strangers: dict[str, Look], temperature: float
) -> dict[str, dict[str, float]]:
    """Return for each score how well it tells each kind of strangers from known photos (AUROC)."""
    found = {}
    for name, module in scores.items():
        usual = score(module, known, temperature)
        found[name] = {
            kind: round(area(usual, score(module, seen, temperature)), 4)
            for kind, seen in strangers.items()
        }
    return found


def choose(compared: dict[str, dict[str, float]], classes: int) -> str:
    """Return the score that is best over all kinds of strangers, by its mean.

    Where no stranger was met: `mean_logits`, best of 80 species, or `knn` for few classes.
    """
    if not any(compared.values()):
        return "mean_logits" if classes > FEW else "knn"
    return max(compared, key=lambda name: sum(compared[name].values()))


def area(known: np.ndarray, strange: np.ndarray) -> float:
    """Return the area under the ROC curve: the chance that of two photos the strange one leads."""
    return float(mannwhitneyu(strange, known).statistic) / (len(strange) * len(known))
