"""Explain why a disk refuses a file, and check its free space before training."""

import errno
import math
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from fieldmark.errors import DiskError, UserError

FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
DENIED = {errno.EACCES, errno.EPERM}
WRONG_KIND = {errno.ENOTDIR, errno.EEXIST, errno.EISDIR}
RESUMES = "An interrupted training continues after its last complete epoch."
ERRNO = re.compile(r"\[Errno (\d+)\][^']*(?:'([^']+)')?")
UNITS = ("bytes", "kB", "MB", "GB", "TB")
FULL_WORDS = ("PytorchStreamWriter", "inline_container", "os error 28", "No space left")


@contextmanager
def explained(path: Path, size: int = 0) -> Iterator[None]:
    """Raise a DiskError that says what to do, where a disk refuses to create or write `path`.

    `size` is the number of bytes to write, 0 if unknown.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if explanation := explain(error, path, size):
            raise explanation from error
        raise


def explain(error: BaseException, path: Path | None = None, size: int = 0) -> DiskError | None:
    """Return the DiskError for an error of the system or one that it caused, None for others."""
    cause: BaseException | None = error
    while cause and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, OSError) and cause.errno:
        return explain_number(cause.errno, path or Path(cause.filename or "."), size)
    return explain_text(str(error), path or Path("."), size)


def explain_text(text: str, folder: Path, size: int = 0) -> DiskError | None:
    """Return the DiskError for the message of an error, which another process has raised.

    `folder` is named if the message names no file.
    """
    if match := ERRNO.search(text):
        return explain_number(int(match[1]), Path(match[2] or folder), size)
    if any(word in text for word in FULL_WORDS):  # of torch and safetensors, which hide the number
        return explain_number(errno.ENOSPC, folder, size)
    return None


def explain_number(number: int, path: Path, size: int = 0) -> DiskError | None:
    """Return the DiskError for a number of `errno`, None for one that is not about disks."""
    folder = path if path.is_dir() else path.parent
    if number in FULL:
        needed = f"It needs {format_size(size)}, and the disk has" if size else "The disk has"
        free = format_size(shutil.disk_usage(nearest_folder(path)).free)
        limit = {errno.ENOSPC: "the disk is full", errno.EFBIG: "files may not be that large"}
        return DiskError(
            f"{path} cannot be written: {limit.get(number, 'your disk quota is used up')}. "
            f"{needed} {free} free. Delete old folders in runs/, or other files on this disk, and "
            f"start the same command again. {RESUMES}"
        )
    if number == errno.EROFS:
        return DiskError(
            f"{path} cannot be written: the file system is read-only. Mount it writable, or start "
            "in a folder that is."
        )
    if number in DENIED:
        return DiskError(
            f"{path} cannot be opened or written: permission denied. Give your user the right to "
            f"read and write in {folder}, or start in another folder."
        )
    if number in WRONG_KIND:
        files = [parent for parent in (path, *path.parents) if parent.is_file()]
        return DiskError(
            f"{path} cannot be written: {files[-1] if files else path} is "
            f"{'a file, not a folder' if files else 'a folder, not a file'}. Move it away."
        )
    if number == errno.ENOENT:
        return DiskError(
            f"{path} is missing: it, or a folder above it, was deleted or moved. Put it back, or "
            f"start the same command again without it. {RESUMES}"
        )
    if number == errno.EIO:
        return DiskError(
            f"{path} cannot be read or written: the disk reports an input/output error. Copy runs/ "
            f"to another disk, and start the same command there. {RESUMES}"
        )
    return None


def check_writable(folder: Path) -> None:
    """Create a folder; raise DiskError unless files can be written in it."""
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.write_bytes(b"?")
        probe.unlink()


def check_space(folder: Path, needs: Mapping[str, int], advice: str = "") -> None:
    """Raise DiskError if what a run will write, in bytes by kind, does not fit on a disk."""
    free = shutil.disk_usage(nearest_folder(folder)).free
    if sum(needs.values()) > free:
        kinds = ", ".join(f"{kind} {format_size(size)}" for kind, size in needs.items() if size)
        raise DiskError(
            f"The disk of {folder} has {format_size(free)} free, and training needs about "
            f"{format_size(sum(needs.values()))} ({kinds}). Delete old folders in runs/, or other "
            f"files on this disk{advice}."
        )


def nearest_folder(path: Path) -> Path:
    """Return the closest folder above a path that exists, or the path if it is one."""
    return next(each for each in (path, *path.absolute().parents) if each.is_dir())


def folder_size(folder: Path) -> int:
    """Return the bytes that the files below a folder take on the disk; they may be sparse."""
    blocks = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):  # another process has just renamed it
            blocks += file.stat().st_blocks if file.is_file() else 0
    return blocks * 512


def format_size(size: float) -> str:
    """Return a number of bytes in words, such as "1.2 GB"."""
    power = min(len(UNITS) - 1, int(math.log(max(1, size), 1000)))
    value = size / 1000**power
    return f"{value:.{int(power > 0 and value < 10)}f} {UNITS[power]}"
