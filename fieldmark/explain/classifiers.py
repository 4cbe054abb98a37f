"""Classic classifiers on the embeddings of photos, beside the network."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.svm import SVC

from fieldmark.explain.explained_run import ExplainedRun
from fieldmark.statistics import accuracy_row, adjust_holm, difference_row

NEIGHBOURS = 5
COMPONENTS = 32  # of PCA, for gradient boosting
TREES = 100  # of the forest
BOOSTED_TREES = 5000  # of gradient boosting, at most, one of each species an iteration
MAX_PHOTOS = 5000  # that a classifier is fitted to


class NearestMeanCosine(ClassifierMixin, BaseEstimator):
    """Predict the species whose mean unit vector has the highest cosine similarity."""

    def fit(self, embeddings: np.ndarray, labels: np.ndarray) -> "NearestMeanCosine":
        """Compute the means of embeddings [n, D] with labels [n]."""
        nearest: Any = NearestCentroid().fit(normalize(embeddings), labels)
        self.classes_ = nearest.classes_
        self.means_ = np.asarray(normalize(nearest.centroids_))
        return self

    def predict(self, embeddings: np.ndarray) -> np.ndarray:
        """Return the labels of embeddings [n, D]."""
        return self.classes_[(embeddings @ self.means_.T).argmax(1)]


def make_classifiers(classes: int, shape: tuple[int, int], seed: int = 0) -> dict[str, Any]:
    """Return unfitted classifiers by name, for embeddings of `shape` (n, D).

    Their settings are fixed, and were fitted to no photo of `calibration`: scikit-learn's defaults,
    except the regularisation of the linear models, which is that of `fit_probe`, and C = 10 of the
    RBF kernel, because standardised embeddings of few photos are separable. Gradient boosting has a
    tree a species and iteration, so it gets 32 principal components, and fewer iterations for more
    species, to take less than a minute. Its L2 penalty is XGBoost's default, 1 (Chen and Guestrin
    2016): without it the first leaves of one rare species among many take steps that diverge.
    """
    n, dimensions = shape
    components = min(COMPONENTS, n, dimensions)
    boosting = HistGradientBoostingClassifier(
        max_iter=int(np.clip(BOOSTED_TREES // classes, 5, 100)),
        max_leaf_nodes=8,
        min_samples_leaf=max(1, min(20, n // (4 * classes))),
        l2_regularization=1,
        early_stopping=False,
        random_state=seed,
    )
    return {
        "logistic regression": make_pipeline(
            StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)
        ),
        "SVM, linear kernel": make_pipeline(StandardScaler(), SVC(kernel="linear", C=0.1)),
        "SVM, RBF kernel": make_pipeline(StandardScaler(), SVC(C=10)),
        "random forest": RandomForestClassifier(TREES, n_jobs=-1, random_state=seed),
        f"gradient boosting, {components} components": make_pipeline(
            PCA(components, random_state=seed), boosting
        ),
        "nearest class mean": NearestCentroid(),
        "nearest class mean, cosine": NearestMeanCosine(),
        f"{min(NEIGHBOURS, n)} nearest photos, cosine": KNeighborsClassifier(
            min(NEIGHBOURS, n), metric="cosine"
        ),
    }


def judge_classifiers(
    explained: ExplainedRun,
    features: Mapping[str, np.ndarray],
    seed: int = 0,
    limit: int = MAX_PHOTOS,
) -> pd.DataFrame:
    """Fit classifiers to the `train` photos and judge them on `calibration`, beside the network.

    `features` [n, D] by name are of all photos of the run. At most `limit` photos train, a random
    sample. Each row has the `accuracy` with its Wilson interval, the `difference` to the network in
    proportions with its Bonett-Price interval, and p of McNemar's exact test, `adjusted` for all
    rows (Holm). The first row is the network itself, whose `features` are "".
    """
    predictions = explained.predictions
    truth, splits = predictions.truth, predictions.splits
    train, judged = (np.flatnonzero(splits == name) for name in ("train", "calibration"))
    train = np.sort(np.random.default_rng(seed).permutation(train)[:limit])
    network = predictions.correct[judged]
    rows = []
    for name, values in features.items():
        shape = len(train), values.shape[1]
        classifiers = make_classifiers(len(np.unique(truth[train])), shape, seed)
        for classifier, model in classifiers.items():
            predicted = model.fit(values[train], truth[train]).predict(values[judged])
            row = {"classifier": classifier, "features": name}
            rows.append(row | compare_with_network(predicted == truth[judged], network))
    table = pd.DataFrame(rows)
    table["adjusted"] = adjust_holm(table["p"].to_numpy(float))
    own = {"classifier": "the network", "features": ""} | accuracy_row(network)
    return pd.concat([pd.DataFrame([own]), table], ignore_index=True)


def compare_with_network(correct: np.ndarray, network: np.ndarray) -> dict:
    """Return the accuracy of a classifier, and its difference to the network on the same photos."""
    alone = {"only_classifier": int((correct & ~network).sum())}
    alone |= {"only_network": int((network & ~correct).sum())}
    return accuracy_row(correct) | difference_row(correct, network) | alone
