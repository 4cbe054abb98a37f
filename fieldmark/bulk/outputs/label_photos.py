"""Write names beside photos as sidecars, and sort photos into folders of species, with undo."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Literal

from fieldmark.bulk.addresses import is_address
from fieldmark.bulk.outputs.journal import Journal, digest_of
from fieldmark.bulk.outputs.sidecars import format_sidecar, keywords_of
from fieldmark.bulk.outputs.tables import read_rows
from fieldmark.bulk.results import Results
from fieldmark.files import sha256_file

COLUMNS = ["path", "kind", "label", "common_name", "scientific_name", "shortlist", "error"]
UNREADABLE = "_unreadable"
GONE, KEPT = "{} does not exist any more.", "{} is not ours or was changed, and is left as it is."


def open_journal(results: Results) -> Journal:
    """Return the journal of what was written for the photos of results."""
    return Journal(results.folder / "labelled.jsonl")


def write_sidecars(results: Results, journal: Journal) -> Iterator[str]:
    """Write an XMP sidecar for every photo that was read; yield messages on those left as is."""
    for row, photo in local_photos(results):
        if not photo.is_file():
            yield GONE.format(photo)
        elif row["error"] is None:
            content = format_sidecar(*keywords_of(row))
            sidecar = photo.with_name(f"{photo.name}.xmp")
            if not journal.write_file(
                sidecar, digest_of(content), lambda p, c=content: p.write_bytes(c)
            ):
                yield KEPT.format(sidecar)


def sort_photos(
    results: Results, journal: Journal, folder: Path, how: Literal["copy", "link"]
) -> Iterator[str]:
    """Copy or link photos into folders by species; yield messages on those left out.

    Names below such a folder are the photos' paths; of two photos with one name the second is left
    out, as on file systems that ignore case.
    """
    targets: set[str] = set()
    for row, photo in local_photos(results):
        target = folder / folder_of(row) / below(row["path"])
        if not photo.is_file():
            yield GONE.format(photo)
            continue
        if str(target).casefold() in targets:
            yield f"{photo} is left out: another photo is {target} already."
            continue
        targets.add(str(target).casefold())
        source = str(photo.absolute())
        if how == "link":
            done = journal.write_file(
                target, digest_of(source.encode()), lambda p, s=source: p.symlink_to(s)
            )
        else:
            done = journal.write_file(
                target, sha256_file(photo), lambda p, s=source: shutil.copy2(s, p)
            )
        if not done:
            yield KEPT.format(target)


def local_photos(results: Results) -> Iterator[tuple[dict, Path]]:
    """Yield the rows of photos that are files, and where those are."""
    for row in read_rows(results, COLUMNS):
        place = results.locate(row["path"])
        if not is_address(place):
            yield row, Path(place)


def folder_of(row: dict) -> str:
    """Return the name of the folder for a row's photo: a species, or _shortlist and so on."""
    if row["error"] is not None:
        return UNREADABLE
    name = row["common_name"] or row["label"]
    return safe_name(name) if row["kind"] == "species" else f"_{row['kind']}"


def safe_name(name: str) -> str:
    """Return a name that every file system allows."""
    return re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", name).strip(" .").lstrip("_") or "_"


def below(path: str) -> Path:
    """Return a path of results as one that stays below another folder."""
    parts = [part for part in PurePath(path).parts if part != PurePath(path).anchor]
    return Path(*("_up" if part == ".." else part for part in parts))
