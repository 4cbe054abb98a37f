"""Files in a cloud, or wherever fsspec reaches: s3://bucket/a.jpg, az://container/a.jpg ..."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from fieldmark.errors import UserError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs"}
CREDENTIALS = {
    "s3fs": "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for a public bucket "
    "FSSPEC_S3='{\"anon\": true}'; AWS_ENDPOINT_URL if it is not Amazon's",
    "adlfs": "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME with "
    "AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN; for a public container "
    "AZURE_STORAGE_ANON=true",
}
NUMBERS = {FileNotFoundError: errno.ENOENT, PermissionError: errno.EACCES}


class SourceError(UserError):
    """A source of photos does not exist or cannot be read."""


class Entry(NamedTuple):
    """What a folder holds: `path` is an address or a local path."""

    name: str
    path: str
    is_folder: bool


class Location:
    """A file or folder at an address; raises SourceError for a protocol that is not available."""

    def __init__(self, address: str):
        self.address = address.rstrip("/")
        self.filesystem, self.path = open_filesystem(self.address)

    def info(self) -> dict:
        """Return `size` in bytes, `type` (file or directory) and more; raises OSError."""
        with as_os_error(self.address):
            return self.filesystem.info(self.path)

    def read_file(self) -> bytes:
        """Return the bytes of a file in one request; raises OSError."""
        with as_os_error(self.address):
            return self.filesystem.cat_file(self.path)  # pyright: ignore[reportReturnType]

    def open_file(self) -> BinaryIO:
        """Open a file, to read parts of it; raises OSError."""
        with as_os_error(self.address):
            return self.filesystem.open(self.path, "rb")  # pyright: ignore[reportReturnType]

    def entries(self) -> list[Entry]:
        """Return what is directly in a folder; raises OSError."""
        with as_os_error(self.address):
            infos = self.filesystem.ls(self.path, detail=True)
        self.filesystem.invalidate_cache()  # it would grow with the number of photos
        longer = len(self.path) + 1  # a folder may list itself, as an empty object
        return [self.entry(info) for info in infos if len(info["name"].rstrip("/")) > longer]

    def glob(self) -> list[Entry]:
        """Return what matches the address as a pattern; raises OSError."""
        with as_os_error(self.address):
            infos: dict = self.filesystem.glob(self.path, detail=True)  # pyright: ignore[reportAssignmentType]
        self.filesystem.invalidate_cache()
        return [self.entry(info) for info in infos.values()]

    def entry(self, info: dict) -> Entry:
        """Return an Entry with the address of a path of the file system.

        Addresses keep the start of this one, which may name an account.
        """
        path = info["name"].rstrip("/")
        same = len(shared_start(self.path, path))
        start = self.address[: len(self.address) - len(self.path) + same]
        return Entry(path.rsplit("/", 1)[-1], start + path[same:], info["type"] == "directory")


def shared_start(first: str, second: str) -> str:
    """Return the characters that two texts share at their start."""
    length = next((i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), None)
    return first[:length] if length is not None else min(first, second, key=len)


def is_address(source: str) -> bool:
    """Return whether a text is an address of fsspec, not a local path."""
    return "://" in source


def open_filesystem(address: str) -> "tuple[AbstractFileSystem, str]":
    """Return the file system of an address, one per process, and the path in it."""
    protocol = address.split("://")[0]
    package = PACKAGES.get(protocol, protocol)
    if "::" in address:
        raise SourceError(f"{address} is inside another file. Unpack that first.")
    try:
        from fsspec.core import url_to_fs

        with as_os_error(address):
            return url_to_fs(address)
    except ImportError as error:
        raise SourceError(
            f"{address} needs a package: {error}. Install it: make .venv/bulk, or "
            f".venv/bin/pip install fsspec {package}"
        ) from error
    except OSError as error:
        raise access_error(address, error) from error


def access_error(address: str, error: OSError) -> SourceError:
    """Return the error of an address that cannot be listed or read, with what to do."""
    if isinstance(error, FileNotFoundError):
        return SourceError(f"{address} does not exist. Check its spelling.")
    package = PACKAGES.get(address.split("://")[0], "")
    hint = f" Credentials are read from {CREDENTIALS[package]}." if package else ""
    return SourceError(f"{address} cannot be read: {error.strerror}.{hint}")


@contextmanager
def as_os_error(address: str) -> Iterator[None]:
    """Turn all errors of fsspec and its backends into OSError with a `strerror`.

    ImportError is left: a package is missing.
    """
    try:
        yield
    except ImportError:
        raise
    except Exception as error:  # each cloud's package has its own
        number = next((n for kind, n in NUMBERS.items() if isinstance(error, kind)), errno.EIO)
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = os.strerror(number) if number == errno.ENOENT else lines[0].rstrip(".")
        raise OSError(number, reason, address) from error
