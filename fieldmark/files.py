"""Write files atomically, read JSON, and compute file digests."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fieldmark.disk import explained

PARTIAL = ".partial"  # the end of a temporary file's name


@contextmanager
def atomic_path(path: Path, size: int = 0) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and rename it to `path` if the block succeeds.

    A process that is killed at any moment leaves the old file or the new one, never half of one.
    Raises DiskError if the disk is full, which names the `size` in bytes if given, or read-only.
    """
    scratch = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")
    with explained(path, size):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield scratch
            scratch.replace(path)
        finally:
            if scratch.is_file():
                scratch.unlink()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with atomic_path(path, len(content)) as scratch:
        scratch.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a UTF-8 text file atomically."""
    write_bytes(path, content.encode())


def format_json(value: Any) -> str:
    """Return the text of an indented JSON file."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write an indented JSON file atomically."""
    write_text(path, format_json(value))


def read_json(path: Path) -> Any:
    """Read a JSON file; return {} if it does not exist."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
