"""Write the file that a competition accepts: its unlabelled photos and their classes."""

from pathlib import Path

import pandas as pd

from fieldmark.errors import DatasetError
from fieldmark.evaluation.predictions import predict
from fieldmark.files import write_text
from fieldmark.network.network import Network


def predict_unlabelled(network: Network, photos: pd.DataFrame, folder: Path) -> pd.Series:
    """Return the predicted label of each photo of the split `unlabelled`, by its path."""
    (predictions,) = predict([network], photos[photos["split"] == "unlabelled"], folder)
    labels = [network.labels[label] for label in predictions.predicted]
    return pd.Series(labels, predictions.paths, dtype=object)


def write_submission(
    photos: pd.DataFrame, labels: pd.Series, folder: Path, file: Path
) -> pd.DataFrame:
    """Write `path,class` for each unlabelled photo, with the competition's class names; return it.

    `photos` is the table of the data set, `labels` the predictions by path. A sample submission in
    `folder` decides how paths are written and ordered; without one it is as in the table. A photo
    that could not be read gets the commonest class, because every line is required. Raises
    DatasetError for a label that the competition does not have.
    """
    labelled = photos.dropna(subset="class").drop_duplicates("label")
    class_of_label = labelled.set_index("label")["class"]
    unknown = sorted(set(labels) - set(class_of_label.index))
    if unknown:
        raise DatasetError(
            f"The competition in {folder} has no class for {', '.join(unknown)}. Train on its own "
            "photos."
        )
    unlabelled = photos["path"][photos["split"] == "unlabelled"]
    paths = read_sample(folder, unlabelled)
    if paths is None:
        paths = pd.Series(unlabelled.array, unlabelled)
    classes = labels.map(class_of_label).reindex(paths.index).fillna(photos["class"].mode()[0])
    submission = pd.DataFrame({"path": paths.array, "class": classes.array})
    write_text(file, submission.to_csv(index=False))
    return submission


def read_sample(folder: Path, unlabelled: pd.Series) -> pd.Series | None:
    """Return the paths of a sample submission, indexed by those of the table; None without one.

    The photos are matched by their file names.
    """
    path_of_name = pd.Series(unlabelled.array, unlabelled.str.rsplit("/", n=1).str[-1])
    for file in sorted(folder.glob("*.csv")):
        lines = pd.read_csv(file, dtype=str)
        if list(lines.columns) != ["path", "class"]:
            continue
        names = lines["path"].str.rsplit("/", n=1).str[-1]
        if set(path_of_name.index) <= set(names):
            index = names.map(path_of_name).fillna(lines["path"])
            return pd.Series(lines["path"].array, index)
    return None
