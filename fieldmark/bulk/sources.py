"""List photos in folders, globs, addresses and tables, and read their bytes."""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from birds import photo
from fieldmark.bulk.addresses import Entry, Location, SourceError, access_error, is_address
from fieldmark.bulk.path_lists import is_list, read_list

FILE = "file://"
SECRET = re.compile(r"://[^/@]*:[^/@]*@|[?&](sig|X-Amz-Signature)=", re.IGNORECASE)


def list_photos(sources: Sequence[str], column: str | None = None) -> Iterator[str]:
    """Return an iterator over the paths and addresses of photos, each once, sorted by folder.

    A source is a photo, a folder that is searched at any depth for the suffixes of
    `photo.SUFFIXES`, a glob, an address that fsspec knows of one of these, or a .csv or .parquet
    file with paths in `column` (default: path), relative to that file's folder. Names that start
    with a dot are left out. Raises SourceError.
    """
    sources = [normalize(source) for source in sources]
    for source in sources:
        check_path(source)
    if column and not any(map(is_list, sources)):
        raise SourceError(
            f"There is no table for the column {column} in {', '.join(sources)}. Give a .csv or "
            ".parquet file."
        )
    listings = [list_source(source, column or "path") for source in sources]
    return unique(listings[0] if len(listings) == 1 else chain.from_iterable(listings))


def unique(paths: Iterable[str]) -> Iterator[str]:
    """Yield each path once, at its first place."""
    seen = set()
    for path in paths:
        check_path(path)
        if path not in seen:
            seen.add(path)
            yield path


def check_path(path: str) -> None:
    """Raise SourceError for a path that results cannot hold, or that would store a secret."""
    if is_address(path) and SECRET.search(path):
        raise SourceError(
            "An address contains a password or a signature, which results would store. Set the "
            "credentials in the environment instead: docs/many.md lists the variables."
        )
    try:
        path.encode()
    except UnicodeEncodeError as error:
        name = path.encode("utf-8", "backslashreplace").decode()
        raise SourceError(f"The name {name} is not UTF-8. Rename this file or folder.") from error


def normalize(source: str) -> str:
    """Return a source without ~, needless slashes, and file://."""
    if is_address(source) and not source.startswith(FILE):
        return source
    return str(Path(source.removeprefix(FILE)).expanduser())


def list_source(source: str, column: str) -> Iterator[str]:
    """Return an iterator over the photos of one source; raises SourceError."""
    if is_address(source):
        return list_address(source, column)
    if Path(source).is_dir():
        return walk(source)
    if Path(source).exists():
        return iter(read_list(source, column) if is_list(source) else [source])
    if not glob.has_magic(source):
        raise SourceError(
            f"{source} does not exist. Give a photo, a folder, a glob, an address such as "
            "s3://bucket/photos, or a .csv or .parquet file with paths."
        )
    matches = sorted(glob.iglob(source, recursive=True))
    return expand(source, [Entry(Path(path).name, path, Path(path).is_dir()) for path in matches])


def list_address(address: str, column: str) -> Iterator[str]:
    """Return an iterator over the photos at an address; raises SourceError."""
    location = Location(address)
    try:
        if is_list(address):
            return iter(read_list(address, column))
        if glob.has_magic(address):
            return expand(address, sorted(location.glob(), key=lambda entry: entry.path))
        is_folder = location.info()["type"] == "directory"
    except OSError as error:
        raise access_error(address, error) from error
    return walk(location.address) if is_folder else iter([location.address])


def expand(pattern: str, entries: Sequence[Entry]) -> Iterator[str]:
    """Return an iterator over the photos that match a pattern, and those in matching folders."""
    if not entries:
        raise SourceError(f"Nothing matches {pattern}. Check the pattern.")
    return chain.from_iterable(
        walk(entry.path) if entry.is_folder else [entry.path]
        for entry in entries
        if entry.is_folder or is_photo(entry)
    )


def walk(folder: str) -> Iterator[str]:
    """Yield the photos in a folder at any depth, in the order of names; raises SourceError.

    Holds the entries of one folder and those above it. Links to folders are not followed.
    """
    try:
        entries = Location(folder).entries() if is_address(folder) else local_entries(folder)
    except OSError as error:
        raise access_error(folder, error) from error
    for entry in sorted(entries):
        if entry.is_folder and not entry.name.startswith("."):
            yield from walk(entry.path)
        elif is_photo(entry):
            yield entry.path


def local_entries(folder: str) -> list[Entry]:
    """Return what is directly in a local folder; raises OSError."""
    with os.scandir(folder) as entries:
        return [
            Entry(entry.name, os.path.normpath(entry.path), entry.is_dir(follow_symlinks=False))
            for entry in entries
        ]


def is_photo(entry: Entry) -> bool:
    """Return whether a file has the name of a photo; ._1.jpg, a Mac's note on 1.jpg, is none."""
    suffix = os.path.splitext(entry.name)[1].lower()
    return suffix in photo.SUFFIXES and not entry.is_folder and not entry.name.startswith(".")


def read_bytes(path: str) -> bytes:
    """Return the bytes of a photo at a local path or an address.

    Raises PhotoError for a file whose size is 0 or exceeds the limit, without reading it, and
    OSError for one that cannot be read.
    """
    if is_address(path):
        location = Location(path)
        photo.check_bytes(location.info()["size"] or 0)
        return location.read_file()
    photo.check_bytes(os.stat(path).st_size)
    with open(path, "rb") as file:
        return file.read(photo.MAX_BYTES + 1)
