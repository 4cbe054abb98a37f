"""Write what a competition wants to be sent: its unlabelled photos and their classes."""

from pathlib import Path

import pandas as pd
from fastai.vision.all import Learner, noop

from fieldmark.errors import DatasetError


def answers(learn: Learner, photos: pd.DataFrame) -> pd.Series:
    """Let the Learner name the unlabelled photos; the label of each by its path."""
    asked = photos[photos["split"] == "unlabelled"].reset_index(drop=True)
    with learn.no_bar(), learn.no_logging():
        logits, _ = learn.get_preds(dl=learn.dls.test_dl(asked), act=noop)
    named = [learn.dls.vocab[place] for place in logits.argmax(1)]
    return pd.Series(named, asked["path"], dtype=object)


def write(photos: pd.DataFrame, labels: pd.Series, folder: Path, out: Path) -> pd.DataFrame:
    """Write `path,class` for each unlabelled photo, in the competition's own words; return it.

    `photos` is the table, `labels` the answers by path. A sample file in `folder` says how paths
    are written and ordered; without one, as in the table. A photo that could not be read gets the
    commonest class, since every line is wanted. Raises DatasetError for an unknown label.
    """
    taught = photos.dropna(subset="class").drop_duplicates("label").set_index("label")["class"]
    unknown = sorted(set(labels) - set(taught.index))
    if unknown:
        raise DatasetError(f"The competition has no class for {', '.join(unknown)}.")
    asked = photos["path"][photos["split"] == "unlabelled"]
    answers = labels.map(taught)
    wanted = sample(folder, asked)
    if wanted is None:
        wanted = pd.Series(asked.array, asked)
    answered = answers.reindex(wanted.index).fillna(photos["class"].mode()[0])
    sent = pd.DataFrame({"path": wanted.array, "class": answered.array})
    sent.to_csv(out, index=False)
    return sent


def sample(folder: Path, asked: pd.Series) -> pd.Series | None:
    """Return the paths of a sample file by those of the table; its photos have the same names."""
    ours = pd.Series(asked.array, asked.str.rsplit("/", n=1).str[-1])
    for file in sorted(folder.glob("*.csv")):
        lines = pd.read_csv(file, dtype=str)
        if list(lines.columns) != ["path", "class"]:
            continue
        names = lines["path"].str.rsplit("/", n=1).str[-1]
        if set(ours.index) <= set(names):
            return pd.Series(lines["path"].array, names.map(ours).fillna(lines["path"]))
    return None
