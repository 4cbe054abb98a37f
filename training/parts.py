"""Give each photo a part to play, so that what judges the model never trained it."""

import pandas as pd

from .photos import PhotosError

UNSEEN = "unseen"
FEWEST = 5  # photos of a class: three to teach, one to choose by, one to report by


def split(
    photos: pd.DataFrame, tune: float = 0.1, calibrate: float = 0.1, seed: int = 0
) -> pd.DataFrame:
    """Carve `tune` (to choose by) and `calibrate` (to report by) out of the split `train`.

    Each class gives each part its share, and at least one photo; a seed gives one split. Photos of
    one `group` stay together, and small groups are taken first, so that judges are independent.
    Every other split stays as it is. Raises PhotosError where a class is too small for three parts.
    """
    if not (tune > 0 and calibrate > 0 and tune + calibrate < 1):
        raise PhotosError(f"Shares of {tune} to tune and {calibrate} to calibrate leave no split.")
    known = photos["split"] != UNSEEN
    enough(photos[known])
    shuffled = photos[photos["split"] == "train"].sample(frac=1, random_state=seed)
    group = shuffled["path"]
    if "group" in shuffled:
        group = shuffled["group"].fillna(group)
    members = group.value_counts().to_dict()
    group = group[group.map(members).sort_values(kind="stable").index]
    given = {}
    for _, names in group.groupby(shuffled["label"]):
        for part, share in (("tune", tune), ("calibrate", calibrate)):
            wanted = max(round(len(names) * share), 1)
            have = sum(given.get(name) == part for name in names)
            for name in dict.fromkeys(names):
                if have < wanted and name not in given:
                    given[name] = part
                    have += members[name]
    parts = photos["split"].copy()
    parts[group.index] = group.map(given).fillna("train")
    counts = pd.crosstab(photos["label"][known], parts)
    counts = counts.reindex(columns=["train", "tune", "calibrate"], fill_value=0)
    bare = counts.index[(counts == 0).any(axis=1)]
    if len(bare):
        raise PhotosError(
            f"Nearly all photos belong together, and can't be both taught and judged by, in: "
            f"{', '.join(bare)}. Add other photos of these, or leave them out."
        )
    return photos.assign(split=parts)


def leave_out(photos: pd.DataFrame, share: float, seed: int = 0) -> pd.DataFrame:
    """Give all labelled photos of a share of the classes, drawn by seed, the split `unseen`.

    They are never taught, and show what a model makes of birds that it doesn't know. Raises
    PhotosError where fewer than two classes would be left.
    """
    if not share:
        return photos
    labels = photos["label"][photos["split"] == "train"].drop_duplicates().sort_values()
    chosen = labels.sample(max(round(len(labels) * share), 1), random_state=seed)
    if len(labels) - len(chosen) < 2:
        raise PhotosError(
            f"Without {len(chosen)} of {len(labels)} species too few are left to teach: "
            "lower `unseen_share`."
        )
    return photos.assign(split=photos["split"].mask(photos["label"].isin(chosen), UNSEEN))


def enough(photos: pd.DataFrame, fewest: int = FEWEST, labels: pd.Series | None = None) -> None:
    """Raise PhotosError where a class has fewer photos to train with; `labels` may name more."""
    counts = photos["label"][photos["split"] == "train"].value_counts()
    wanted = photos["label"] if labels is None else labels
    counts = counts.reindex(wanted.dropna().unique(), fill_value=0)
    if (counts < fewest).any():
        few = ", ".join(f"{label} ({n})" for label, n in counts[counts < fewest].items())
        raise PhotosError(
            f"A class needs {fewest} photos to be trained and judged; too few in: {few}."
        )


def described(photos: pd.DataFrame, trained_on: str) -> str:
    """Say how many photos taught the model, and what its owner says of them."""
    taught = photos[photos["split"] == "train"]
    counted = f"{len(taught):,} photos of {taught['label'].nunique()} species"
    return f"{counted}: {trained_on}" if trained_on else counted
