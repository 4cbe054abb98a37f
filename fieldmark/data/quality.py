"""Remove photos that should not be trained on, and report every problem."""

import pandas as pd

from fieldmark.data.duplicates import MAX_DISTANCE, find_duplicates, group_photos
from fieldmark.data.splits import MIN_PHOTOS, check_class_sizes
from fieldmark.data.subclasses import class_names
from fieldmark.data.survey import COLUMNS
from fieldmark.errors import DatasetError

SHOWN = 3  # leaks in a message


def remove_bad_photos(
    survey: pd.DataFrame,
    allow_duplicates: bool = False,
    min_photos: int = MIN_PHOTOS,
    distance: int = MAX_DISTANCE,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the photos to use and the problems: `path`, `problem` and the `action` taken.

    Unreadable files are left out. Of copies in `train` the first is kept, or none if their labels
    differ; near-duplicates there get the same `group`. Copies within other splits stay. Raises
    DatasetError if a photo is in several splits, unless `allow_duplicates`, and if a class has
    fewer than `min_photos` training photos left.
    """
    unreadable = survey["problem"].notna()
    photos = survey[~unreadable]
    pairs = find_duplicates(photos, distance)
    same_photo = group_photos(photos.drop(columns="group", errors="ignore"), pairs)
    photos = photos.assign(same_photo=same_photo, group=group_photos(photos, pairs))
    leaks = find_leaks(photos, allow_duplicates)
    train, copies = drop_copies(photos[photos["split"] == "train"])
    kept = photos[(photos["split"] != "train") | photos.index.isin(train.index)]
    groups = train["group"].where(train["group"].duplicated(keep=False)).dropna()
    first_paths = train["path"].groupby(groups).transform("first")
    kept = kept.assign(group=first_paths).drop(columns=[*COLUMNS, "same_photo"])
    check_class_sizes(kept, min_photos, class_names(survey))
    bad_files = report(survey[unreadable], survey["problem"], "left out")
    reports = [bad_files, leaks, copies, report_near_duplicates(train)]
    return kept.reset_index(drop=True), pd.concat(reports, ignore_index=True)


def find_leaks(photos: pd.DataFrame, allowed: bool) -> pd.DataFrame:
    """Report photos that are in several splits; raise DatasetError unless that is allowed."""
    in_several = photos.groupby("same_photo")["split"].transform("nunique") > 1
    leaks = photos[in_several]
    copies = {name: " = ".join(paths) for name, paths in leaks.groupby("same_photo")["path"]}
    if copies and not allowed:
        examples = "; ".join([f"`{paths}`" for paths in copies.values()][:SHOWN])
        raise DatasetError(
            f"Train/test leak: {len(copies)} photos are in several splits: {examples}"
            f"{'; ...' if len(copies) > SHOWN else ''}. Remove one copy of each, or set "
            "`allow_duplicates: true`, which makes test metrics too good."
        )
    problems = [f"in another split too: {copies[name]}" for name in leaks["same_photo"]]
    return report(leaks, pd.Series(problems, leaks.index, dtype=object), "allowed")


def drop_copies(train: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the training photos without exact copies, and the report about those."""
    copies = train.groupby("sha256")
    has_conflict = copies["label"].transform("nunique") > 1
    is_copy = train["sha256"].duplicated() & ~has_conflict
    reports = [
        report(train[has_conflict], "copies of this file have different labels", "left out"),
        report(train[is_copy], "a copy of " + copies["path"].transform("first"), "left out"),
    ]
    return train[~(has_conflict | is_copy)], pd.concat(reports)


def report_near_duplicates(train: pd.DataFrame) -> pd.DataFrame:
    """Report the near-duplicates of an earlier training photo, which share its split."""
    similar = train[train["same_photo"].duplicated(keep=False)]
    group = similar.groupby("same_photo")
    first = group["path"].transform("first")
    labels = group["label"].transform("nunique")
    problem = "nearly a copy of " + first.mask(labels > 1, first + ", which has another label")
    return report(similar[first != similar["path"]], problem, "kept in the same split")


def report(photos: pd.DataFrame, problem: pd.Series | str, action: str) -> pd.DataFrame:
    """Return the rows of a problem report; a Series of problems is aligned by index."""
    rows = {"path": photos["path"], "problem": problem, "action": action}
    return pd.DataFrame(rows, photos.index, dtype=object)
