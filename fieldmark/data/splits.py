"""Give each photo a part to play, so that what judges the model never trained it."""

import pandas as pd

from fieldmark.data.locations import PhotosError

UNSEEN = "unseen"
FEWEST = 5  # photos of a class: three to teach, one to choose by, one to report by


def split(
    photos: pd.DataFrame,
    valid: float = 0.1,
    calibration: float = 0.1,
    seed: int = 0,
    known: pd.Series | None = None,
) -> pd.DataFrame:
    """Carve `valid` (to choose by) and `calibration` (to report by) out of the split `train`.

    Each class gives each part its share, and at least one photo; a seed gives one split. Photos of
    one `group` stay together, and small groups are taken first, so that judges are independent.
    Every other split stays as it is. With the parts of an earlier run `known` by path, photos keep
    theirs, and new ones fill up what is short. Raises PhotosError where a class is too small for
    three parts.
    """
    if not (valid > 0 and calibration > 0 and valid + calibration < 1):
        raise PhotosError(
            f"Shares of {valid} for valid and {calibration} for calibration leave none for train."
        )
    shown = photos["split"] != UNSEEN
    enough(photos[shown])
    shuffled = photos[photos["split"] == "train"].sample(frac=1, random_state=seed)
    group = shuffled["path"]
    if "group" in shuffled:
        group = shuffled["group"].fillna(group)
    members = group.value_counts().to_dict()
    group = group[group.map(members).sort_values(kind="stable").index]
    given = kept(shuffled, group, known) if known is not None else {}
    for _, names in group.groupby(shuffled["label"]):
        for part, share in (("valid", valid), ("calibration", calibration)):
            wanted = max(round(len(names) * share), 1)
            have = sum(given.get(name) == part for name in names)
            for name in dict.fromkeys(names):
                if have < wanted and name not in given:
                    given[name] = part
                    have += members[name]
    parts = photos["split"].copy()
    parts[group.index] = group.map(given).fillna("train")
    counts = pd.crosstab(photos["label"][shown], parts)
    counts = counts.reindex(columns=["train", "valid", "calibration"], fill_value=0)
    bare = counts.index[(counts == 0).any(axis=1)]
    if len(bare):
        raise PhotosError(
            f"Nearly all photos belong together, and can't be both taught and judged by, in: "
            f"{', '.join(bare)}. Add other photos of these, or leave them out."
        )
    return photos.assign(split=parts)


def kept(photos: pd.DataFrame, group: pd.Series, known: pd.Series) -> dict[str, str]:
    """Return the part that each group has from an earlier run, whose parts are `known` by path.

    A photo that was moved to another folder, since its label was wrong, is known by its name. What
    taught once teaches again, with all its group.
    """
    order = ("calibration", "valid", "train")
    gone = known[~known.index.isin(photos["path"])]
    gone = gone.set_axis(gone.index.map(name_of))
    moved = {name: part for part in order for name in gone.index[gone == part]}
    before = photos["path"].map(known).fillna(photos["path"].map(name_of).map(moved))
    given = {}
    for part in order:
        given |= dict.fromkeys(group[(before == part).loc[group.index]], part)
    return given


def name_of(path: str) -> str:
    """Return a file's name without its folders."""
    return path.rsplit("/", 1)[-1]


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
