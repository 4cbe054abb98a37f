"""Replace the files of a finished run by those of a new one, all together.

A run trains in the folder `unfinished` of its own folder. Once it is finished, a list is written
there of what moves up; from then on every process that opens the run completes the replacement, so
a process that is killed at any moment leaves the old files or the new ones, never a mixture.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

from fieldmark.disk import explained
from fieldmark.files import read_json, write_json
from fieldmark.locking import lock_folder

UNFINISHED = "unfinished"  # the folder in which a run trains
LIST = "finished.json"  # in it: what moves up, and what it replaces
TIMEOUT = 20  # seconds that another process may take to move files


def replace_entries(folder: Path, names: Iterable[str]) -> None:
    """Replace the entries `names` of a run's folder by those in its folder `unfinished`.

    Names that are not there are removed from the run's folder, as is what else `unfinished` holds.
    """
    unfinished, names = folder / UNFINISHED, list(names)
    moved = [name for name in names if (unfinished / name).exists()]
    removed = [name for name in names if name not in moved]
    write_json(unfinished / LIST, {"move": moved, "remove": removed})
    complete_replacement(folder)


def complete_replacement(folder: Path) -> None:
    """Complete the replacement that a process began, if there is one in a run's folder.

    Raises LockedError if another process is at it for too long.
    """
    unfinished = folder / UNFINISHED
    if not (unfinished / LIST).is_file():
        return
    lock = lock_folder(folder, "changed", "Wait until it ends.", TIMEOUT)
    try:
        with explained(folder):
            move_entries(folder)
    finally:
        lock.release()


def move_entries(folder: Path) -> None:
    """Move the entries on the list, and remove the list last; each step can be repeated."""
    unfinished = folder / UNFINISHED
    try:
        listed = read_json(unfinished / LIST)
        moved, removed = listed["move"], listed["remove"]
    except (ValueError, KeyError, TypeError):  # damaged: training continues from a checkpoint
        (unfinished / LIST).unlink(missing_ok=True)
        return
    for name in removed:
        remove_entry(folder / name)
    for name in moved:
        if (unfinished / name).exists():
            if (unfinished / name).is_dir():
                remove_entry(folder / name)
            (unfinished / name).replace(folder / name)
    for entry in unfinished.iterdir():
        if entry.name != LIST:
            remove_entry(entry)
    (unfinished / LIST).unlink()
    unfinished.rmdir()


def remove_entry(path: Path) -> None:
    """Remove a file or a folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
