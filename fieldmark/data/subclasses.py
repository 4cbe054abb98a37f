"""Sub-classes: folders such as `Mallard (female)`, which the network tells apart within a species.

A table of photos with sub-classes has a column `subclass`, the name of the folder. The `label` is
the species, to which the probabilities of its sub-classes are summed.
"""

import re

import pandas as pd

SUBCLASS = re.compile(r"(?P<label>.*\S)\s+\((?P<plumage>[^()]+)\)")


def add_subclasses(photos: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose labels in the form `species (plumage)` are split into both columns.

    A table without such labels stays as it is.
    """
    matches = photos["label"].map(SUBCLASS.fullmatch)
    if not matches.notna().any():
        return photos
    labels = [match["label"] if match else None for match in matches]
    species = pd.Series(labels, photos.index, dtype=object).fillna(photos["label"])
    return photos.assign(label=species, subclass=photos["label"])


def class_names(photos: pd.DataFrame) -> pd.Series:
    """Return what the network distinguishes: the sub-class of each photo, or else its label."""
    return photos.get("subclass", photos["label"])


def list_classes(photos: pd.DataFrame) -> dict[str, str]:
    """Return the classes of the training photos in the order of the logits, with their species."""
    train = photos[photos["split"] == "train"]
    return dict(sorted(set(zip(class_names(train), train["label"], strict=True))))
