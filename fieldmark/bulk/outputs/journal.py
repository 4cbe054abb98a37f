"""Files that were written beside or from photos, recorded so that all of it can be undone."""

import glob
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from fieldmark.files import PARTIAL, atomic_path, sha256_file


class Undone(NamedTuple):
    """How many files were removed, and which were kept because they have changed since."""

    removed: int
    kept: list[Path]


class Journal:
    """A file with a line per file or folder, each appended before that is written.

    A process that is killed leaves at most a line whose file does not exist. A line has `path` and
    `sha256` of the content, or of the target of a symbolic link; or it has `folder`.
    """

    def __init__(self, path: Path):
        self.path = path
        self.digests: dict[str, set[str]] = {}  # of each path, all that were ever written
        for entry in self.entries():
            if "path" in entry:
                self.digests.setdefault(entry["path"], set()).add(entry["sha256"])

    def __enter__(self) -> Self:
        """Open the journal for appending."""
        if self.path.exists():
            whole = self.path.read_bytes().rpartition(b"\n")
            os.truncate(self.path, len(whole[0] + whole[1]))  # half a line, of a killed process
        self.file = self.path.open("a", encoding="utf-8")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the journal."""
        self.file.close()

    def entries(self) -> Iterator[dict]:
        """Yield the lines that are whole."""
        if self.path.exists():
            with self.path.open(encoding="utf-8") as file:
                yield from (json.loads(line) for line in file if line.endswith("\n"))

    def append(self, **entry: str) -> None:
        """Append a line, which a process that is killed now leaves in the file."""
        self.file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        self.file.flush()

    def write_file(self, path: Path, digest: str, write: Callable[[Path], object]) -> bool:
        """Write a file by a function of a temporary path; return whether it is there as wanted.

        A file that this journal did not write, or that has changed since, is left as it is.
        """
        path = path.absolute()
        if os.path.lexists(path):
            current = fingerprint(path)
            if current not in self.digests.get(str(path), ()):
                return False
            if current == digest:
                return True
        elif str(path) in self.digests:
            remove_rest(path)
        self.make_folders(path.parent)
        self.append(path=str(path), sha256=digest)
        self.digests.setdefault(str(path), set()).add(digest)
        with atomic_path(path) as scratch:
            write(scratch)
        return True

    def make_folders(self, folder: Path) -> None:
        """Make a folder and those above it that do not exist."""
        if not folder.is_dir():
            self.make_folders(folder.parent)
            self.append(folder=str(folder))
            folder.mkdir()

    def undo(self) -> Undone:
        """Remove what was written and has not changed since, then folders that are empty."""
        removed = sum(remove(Path(e["path"]), e["sha256"]) for e in self.entries() if "path" in e)
        folders = [Path(entry["folder"]) for entry in self.entries() if "folder" in entry]
        for folder in reversed(folders):
            with suppress(OSError):  # it has other files, or is gone
                folder.rmdir()
        left = [e for e in self.entries() if os.path.lexists(e.get("path") or e["folder"])]
        if left:
            with atomic_path(self.path) as scratch, scratch.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(e, ensure_ascii=False) + "\n" for e in left)
        else:
            self.path.unlink(missing_ok=True)
        return Undone(removed, sorted({Path(e["path"]) for e in left if "path" in e}))


def remove(path: Path, digest: str) -> bool:
    """Remove a file that has a digest, or what a killed process left of it; return if it had."""
    if not os.path.lexists(path):
        remove_rest(path)
        return False
    if fingerprint(path) != digest:
        return False
    path.unlink()
    return True


def remove_rest(path: Path) -> None:
    """Remove what a process that was killed while it wrote a file left of it."""
    for rest in path.parent.glob(f"{glob.escape(path.name)}.*{PARTIAL}"):
        rest.unlink()


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file's content, or of a symbolic link's target."""
    if path.is_symlink():
        return digest_of(os.readlink(path).encode())
    return sha256_file(path) if path.is_file() else ""


def digest_of(content: bytes) -> str:
    """Return the SHA-256 of bytes in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
