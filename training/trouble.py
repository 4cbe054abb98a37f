"""Act on what is wrong with the photos before they teach anything, and keep a list of it."""

import pandas as pd

from .duplicates import NEAR, near, together
from .parts import FEWEST, enough
from .photos import PhotosError
from .survey import LOOK


def checked(
    survey: pd.DataFrame,
    allow_duplicates: bool = False,
    fewest: int = FEWEST,
    distance: int = NEAR,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the photos to go on with, and the trouble: `path`, `trouble` and what was `done`.

    Unreadable files are left out. Of the same bytes in `train` one stays, or none where labels
    differ, since nobody knows which is right; photos much alike there become one `group`. Other
    splits stay as their data set has them. Raises PhotosError where a photo of one split is in
    another too, unless that is allowed, and where fewer than `fewest` photos of a class may teach.
    """
    bad = survey["problem"].notna()
    trouble = [told(survey[bad], survey["problem"], "left out")]
    photos = survey[~bad]
    photos = photos.assign(group=together(photos, near(photos, distance)))
    trouble.append(across(photos, allow_duplicates))

    taught = photos[photos["split"] == "train"]
    copies = taught.groupby("sha256")
    doubtful = copies["label"].transform("nunique") > 1
    trouble.append(told(taught[doubtful], "the same file has several labels", "left out"))
    extra = taught["sha256"].duplicated() & ~doubtful
    said = "a copy of " + copies["path"].transform("first")
    trouble.append(told(taught[extra], said, "left out"))

    taught = taught[~(doubtful | extra)]
    alike = taught[taught["group"].duplicated(keep=False)].groupby("group")
    group = alike["path"].transform("first")
    said = "much like " + group
    said += (alike["label"].transform("nunique") > 1).map({True: ", of another label", False: ""})
    others = taught.loc[group.index[group != taught["path"].reindex(group.index)]]
    trouble.append(told(others, said, "kept in one part with it"))

    photos = photos[(photos["split"] != "train") | photos.index.isin(taught.index)]
    photos = photos.assign(group=group.reindex(photos.index)).drop(columns=LOOK)
    enough(photos, fewest)
    return photos.reset_index(drop=True), pd.concat(trouble, ignore_index=True)


def across(photos: pd.DataFrame, allowed: bool) -> pd.DataFrame:
    """List the photos that are in several splits; raise PhotosError unless that is allowed."""
    groups = photos.groupby("group")
    shared = photos[groups["split"].transform("nunique") > 1]
    found = [" = ".join(paths) for _, paths in shared.groupby("group")["path"]]
    if found and not allowed:
        raise PhotosError(
            f"{len(found)} photos are in more than one split, so that what judges has taught: "
            f"{'; '.join(found[:3])}{' ...' if len(found) > 3 else ''}. Take them out of one, or "
            "set `allow_duplicates: true` and trust the figures less."
        )
    return told(shared, "also in another split: " + groups["path"].transform(" = ".join), "allowed")


def told(photos: pd.DataFrame, trouble: pd.Series | str, done: str) -> pd.DataFrame:
    """Say what the trouble is with some photos, and what was done; a Series goes by their index."""
    if isinstance(trouble, pd.Series):
        trouble = trouble.reindex(photos.index)
    return pd.DataFrame({"path": photos["path"], "trouble": trouble, "done": done}, dtype=object)
