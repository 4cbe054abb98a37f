"""Act on what is wrong with the photos before they teach anything, and keep a list of it."""

import pandas as pd

from fieldmark.data.duplicates import NEAR, near, together
from fieldmark.data.locations import PhotosError
from fieldmark.data.splits import FEWEST, enough
from fieldmark.data.survey import LOOK


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
    pairs = near(photos, distance)
    same = together(photos.drop(columns="group", errors="ignore"), pairs)
    photos = photos.assign(same=same, group=together(photos, pairs))
    trouble.append(across(photos, allow_duplicates))

    taught = photos[photos["split"] == "train"]
    copies = taught.groupby("sha256")
    doubtful = copies["label"].transform("nunique") > 1
    trouble.append(told(taught[doubtful], "the same file has several labels", "left out"))
    extra = taught["sha256"].duplicated() & ~doubtful
    said = "a copy of " + copies["path"].transform("first")
    trouble.append(told(taught[extra], said, "left out"))

    taught = taught[~(doubtful | extra)]
    alike = taught[taught["same"].duplicated(keep=False)]
    mixed = alike.groupby("same")["label"].transform("nunique") > 1
    first = alike.groupby("same")["path"].transform("first")
    said = "much like " + first + mixed.map({True: ", of another label", False: ""})
    trouble.append(told(alike[first != alike["path"]], said, "kept in one part with it"))

    grouped = taught[taught["group"].duplicated(keep=False)]
    group = grouped.groupby("group")["path"].transform("first").reindex(photos.index)
    stay = (photos["split"] != "train") | photos.index.isin(taught.index)
    photos = photos.assign(group=group)[stay].drop(columns=[*LOOK, "same"])
    enough(photos, fewest, survey["label"])
    return photos.reset_index(drop=True), pd.concat(trouble, ignore_index=True)


def across(photos: pd.DataFrame, allowed: bool) -> pd.DataFrame:
    """List the photos that are in several splits; raise PhotosError unless that is allowed."""
    shared = photos[photos.groupby("same")["split"].transform("nunique") > 1]
    found = {same: " = ".join(paths) for same, paths in shared.groupby("same")["path"]}
    if found and not allowed:
        raise PhotosError(
            f"What judges has taught: the same photo is in several splits, {len(found)} times: "
            f"{'; '.join([*found.values()][:3])}{' ...' if len(found) > 3 else ''}. Take it out of "
            "one, or set `allow_duplicates: true` and trust the figures less."
        )
    said = [f"in another split too: {found[same]}" for same in shared["same"]]
    return told(shared, pd.Series(said, shared.index, dtype=object), "allowed")


def told(photos: pd.DataFrame, trouble: pd.Series | str, done: str) -> pd.DataFrame:
    """Say what the trouble is with some photos, and what was done; a Series goes by their index."""
    if isinstance(trouble, pd.Series):
        trouble = trouble.reindex(photos.index)
    return pd.DataFrame({"path": photos["path"], "trouble": trouble, "done": done}, dtype=object)
