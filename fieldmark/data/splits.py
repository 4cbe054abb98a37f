"""Split photos so that no photo evaluates a model that has trained on it.

`train` is for learning. `valid` is for choosing: epoch, temperature, score, model. `calibration`
sets thresholds and supplies the reported metrics; nothing is chosen on it. `unseen` holds species
that are left out, to measure how well they are rejected. `unlabelled` photos have no label. Every
other split is a test set that came with the photos and is evaluated once. Near-duplicates stay in
one split.
"""

import pandas as pd

from fieldmark.data.subclasses import class_names
from fieldmark.errors import DatasetError

UNSEEN = "unseen"
RESERVED = ("train", "valid", "calibration", UNSEEN, "unlabelled")
MIN_PHOTOS = 5  # per class: three to train on, one for valid, one for calibration


def split_photos(
    photos: pd.DataFrame,
    valid: float = 0.1,
    calibration: float = 0.1,
    seed: int = 0,
    previous: pd.Series | None = None,
) -> pd.DataFrame:
    """Move a fraction of each class from the split `train` to `valid` and to `calibration`.

    Each class gives both at least one photo; other splits stay. Photos of one `group` stay
    together, and small groups are taken first. Photos keep the `previous` split of their path in an
    earlier run, and new ones fill up what is missing. Raises DatasetError if a class is too small.
    """
    if not (valid > 0 and calibration > 0 and valid + calibration < 1):
        raise DatasetError(
            f"`valid_share: {valid}` and `calibration_share: {calibration}` leave a split empty. "
            "Set both above 0 and their sum below 1."
        )
    has_classes = photos["split"] != UNSEEN
    check_class_sizes(photos[has_classes])
    shuffled = photos[photos["split"] == "train"].sample(frac=1, random_state=seed)
    groups = shuffled.get("group", shuffled["path"]).fillna(shuffled["path"])
    sizes = groups.value_counts().to_dict()
    groups = groups[groups.map(sizes).sort_values(kind="stable").index]
    assigned = keep_previous(shuffled, groups, previous) if previous is not None else {}
    for _, names in groups.groupby(class_names(shuffled)):
        for split, fraction in (("valid", valid), ("calibration", calibration)):
            target = max(round(len(names) * fraction), 1)
            count = sum(assigned.get(name) == split for name in names)
            for name in dict.fromkeys(names):
                if count < target and name not in assigned:
                    assigned[name] = split
                    count += sizes[name]
    splits = photos["split"].copy()
    splits[groups.index] = groups.map(assigned).fillna("train")
    counts = pd.crosstab(class_names(photos)[has_classes], splits)
    filled = counts.reindex(columns=["train", "valid", "calibration"], fill_value=0).all(axis=1)
    if not filled.all():
        raise DatasetError(
            "Nearly all photos are near-duplicates, which cannot be in several splits, in: "
            f"{', '.join(filled.index[~filled])}. Add other photos of these classes, or remove "
            "the classes."
        )
    photos = photos.assign(split=splits)
    check_no_leak(photos)
    return photos


def keep_previous(photos: pd.DataFrame, groups: pd.Series, previous: pd.Series) -> dict[str, str]:
    """Return the split that each group had in an earlier run; `previous` has splits by path.

    A photo that was moved to another folder, since its label was wrong, is recognised by its name.
    If any photo of a group was in `train`, the whole group stays there.
    """
    order = ("calibration", "valid", "train")
    gone = previous[~previous.index.isin(photos["path"])]
    gone = gone.set_axis(gone.index.str.rsplit("/", n=1).str[-1])
    moved = {name: split for split in order for name in gone.index[gone == split]}
    names = photos["path"].str.rsplit("/", n=1).str[-1]
    before = photos["path"].map(previous).fillna(names.map(moved))
    assigned = {}
    for split in order:
        assigned |= dict.fromkeys(groups[(before == split).loc[groups.index]], split)
    return assigned


def leave_out_species(photos: pd.DataFrame, share: float, seed: int = 0) -> pd.DataFrame:
    """Move all labelled photos of a share of the classes, drawn by seed, to the split `unseen`.

    Raises DatasetError if fewer than two classes would be left.
    """
    if not share:
        return photos
    labels = photos["label"][photos["split"] == "train"].drop_duplicates().sort_values()
    drawn = labels.sample(max(round(len(labels) * share), 1), random_state=seed)
    if len(labels) - len(drawn) < 2:
        raise DatasetError(
            f"`unseen_share: {share}` leaves {len(labels) - len(drawn)} of {len(labels)} species "
            "to train on, and at least two are needed. Lower it."
        )
    return photos.assign(split=photos["split"].mask(photos["label"].isin(drawn), UNSEEN))


def check_no_leak(photos: pd.DataFrame) -> None:
    """Raise DatasetError if a photo, or photos of one `group`, are in several splits."""
    for key in photos.columns.intersection(["path", "group"]):
        placed = photos.dropna(subset=key).drop_duplicates([key, "split"])
        leaks = placed[placed.duplicated(key, keep=False)].sort_values(key, kind="stable").head(2)
        if len(leaks):
            (a, b), splits = leaks["path"], " and ".join(leaks["split"])
            what = f"`{a}` is" if a == b else f"`{a}` and its near-duplicate `{b}` are"
            raise DatasetError(f"Train/test leak: {what} in the splits {splits}. Remove one copy.")


def check_class_sizes(
    photos: pd.DataFrame, min_photos: int = MIN_PHOTOS, labels: pd.Series | None = None
) -> None:
    """Raise DatasetError if a class has too few training photos; `labels` adds empty classes."""
    counts = class_names(photos)[photos["split"] == "train"].value_counts()
    labels = class_names(photos) if labels is None else labels
    counts = counts.reindex(labels.dropna().unique(), fill_value=0)
    if small := [f"{label} ({n})" for label, n in counts.items() if n < min_photos]:
        raise DatasetError(
            f"Each class needs {min_photos} training photos; too few in: {', '.join(small)}. Add "
            "photos, or remove the classes."
        )


def list_test_splits(photos: pd.DataFrame) -> list[str]:
    """Return the names of the test sets that came with the photos."""
    return sorted(set(photos["split"]) - set(RESERVED))


def describe_training_photos(photos: pd.DataFrame, trained_on: str) -> str:
    """Return the number of training photos and species, and the owner's description of them."""
    train = photos[photos["split"] == "train"]
    counts = f"{len(train):,} photos of {train['label'].nunique()} species"
    return f"{counts}: {trained_on}" if trained_on else counts
