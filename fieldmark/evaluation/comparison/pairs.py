"""Tell which of two runs is better, on the same photos, and whether that is more than chance."""

from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from export.drop import paired
from fieldmark.run import TRAINING_SPLITS, Run

LEVEL = 0.05  # of false alarms, in all pairs together
ENOUGH = 0.5  # of the photos that judged, which two runs must share
COUNTED = ("first", "second", "n", "only_first", "only_second", "points", "low", "high", "p")


class NotComparedError(ValueError):
    """Two runs that no test can compare; the text says why."""


def shared(first: Run, second: Run) -> pd.DataFrame:
    """Return the photos that judged both runs and taught neither: `label`, `first`, `second`.

    The last two tell whether each was right. A photo is known by its path and its label. Raises
    NotComparedError where the two name other species, or were judged by other photos.
    """
    if first.labels != second.labels:
        raise NotComparedError("they name other species")
    tables = [run.predictions.set_index("path") for run in (first, second)]
    both = tables[0].index.intersection(tables[1].index)
    label, other = (table.loc[both, "label"] for table in tables)
    if (label != other).any():
        raise NotComparedError("photos of the same name have other labels")
    fewest = min(map(len, tables))
    splits = [run.split.set_index("path")["split"] for run in (first, second)]
    for split in splits:
        both = both.difference(split.index[split.isin(TRAINING_SPLITS)])
    clean = both
    if len(clean) < max(1, ENOUGH * fewest):
        told = f"{len(clean)} of {fewest} photos judged both and taught neither"
        raise NotComparedError(f"other photos judged: only {told}")
    right = {
        name: (table["label"] == table["predicted"]).loc[clean]
        for name, table in zip(("first", "second"), tables, strict=True)
    }
    return pd.DataFrame({"label": label.loc[clean], **right})


def pair(first: Run, second: Run) -> dict:
    """Compare two runs on the photos that they share; raises NotComparedError.

    `points` is how many more in 100 the first names right, `low` and `high` its 95 % interval
    (Bonett and Price 2012), `p` that of the exact test of McNemar (1947): only photos that one
    alone named right speak, and by chance either is as likely to be the one.
    """
    photos = shared(first, second)
    only = [
        int((photos[one] & ~photos[other]).sum())
        for one, other in (("first", "second"), ("second", "first"))
    ]
    n = len(photos)
    points = (100 * (only[0] - only[1]) / n, *(100 * end for end in paired(*only, n)))
    p = binomtest(only[0], sum(only)).pvalue if sum(only) else 1.0
    return dict(zip(COUNTED, (first.name, second.name, n, *only, *points, p), strict=True))


def pairs(runs: list[Run]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare every two runs, the better one first; then list those that can't be, and `why`.

    `adjusted` is p times what so many tests ask for (Holm 1979), and `beyond_noise` whether it is
    below 5 %.
    """
    found, not_compared = [], []
    for first, second in combinations(runs, 2):
        try:
            each = pair(first, second)
            found.append(each if each["points"] >= 0 else pair(second, first))
        except NotComparedError as error:
            not_compared.append((first.name, second.name, str(error)))
    told = pd.DataFrame(found, columns=list(COUNTED))
    told["adjusted"] = holm(told["p"].to_numpy(float))
    told["beyond_noise"] = told["adjusted"] < LEVEL
    told = told.sort_values(["p", "points"], ascending=[True, False], ignore_index=True)
    return told, pd.DataFrame(not_compared, columns=["first", "second", "why"])


def holm(p: np.ndarray) -> np.ndarray:
    """Adjust p values [m] for m tests: the least times m, the next times m - 1 ... (Holm 1979)."""
    order, m = p.argsort(kind="stable"), len(p)
    adjusted = np.empty(m)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(m, 0, -1)).clip(max=1)
    return adjusted


def by_class(first: Run, second: Run) -> pd.DataFrame:
    """Compare the recall of two runs species by species, the largest differences first.

    On the photos that they share: `n`, `only_first` and `only_second` right, the recall of both,
    and `points` between them; a species without such a photo comes last. Raises NotComparedError.
    """
    photos = shared(first, second)
    photos["only_first"] = photos["first"] & ~photos["second"]
    photos["only_second"] = photos["second"] & ~photos["first"]
    groups = photos.groupby("label")
    found = groups[["only_first", "only_second"]].sum()
    found.insert(0, "n", groups.size())
    found = found.join(groups[["first", "second"]].mean().add_prefix("recall_"))
    found["points"] = 100 * (found["recall_first"] - found["recall_second"])
    found = found.reindex(sorted(first.labels)).rename_axis("label").reset_index()
    counts = ["n", "only_first", "only_second"]
    found[counts] = found[counts].fillna(0).astype(int)
    far = found["points"].abs().fillna(-1)
    order = pd.DataFrame({"far": -far, "n": -found["n"]}).sort_values(["far", "n"], kind="stable")
    return found.loc[order.index].reset_index(drop=True)
