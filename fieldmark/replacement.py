"""Replace the files of a finished run by those of a new one, all together.

A run trains in the folder `unfinished` of its own folder, and a model file is exported again in
`exported`. Once that is finished, a list is written there of what moves up; from then on every
process that opens the run completes the replacement, so a process that is killed at any moment
leaves the old files or the new ones, never a mixture.
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fieldmark.disk import explained
from fieldmark.errors import GateError
from fieldmark.files import read_json, write_json, write_text
from fieldmark.locking import lock_folder

UNFINISHED = "unfinished"  # the folder in which a run trains
EXPORTED = "exported"  # the folder in which a model file is written and checked
LIST = "finished.json"  # in it: what moves up, and what it replaces
TIMEOUT = 20  # seconds that another process may take to move files


@contextmanager
def replaced_by_export(folder: Path, owned: Iterable[str] = ()) -> Iterator[Path]:
    """Yield a new folder, whose entries replace those in `folder` if the block succeeds.

    Of the names `owned`, those that the block did not write are removed.
    """
    scratch = folder / EXPORTED
    with explained(scratch):
        remove_entry(scratch)
        scratch.mkdir(parents=True)
    try:
        yield scratch
        names = {*owned, *(path.name for path in scratch.iterdir())}
        replace_entries(folder, sorted(names), EXPORTED)
    finally:
        if not (scratch / LIST).is_file():
            remove_entry(scratch)


@contextmanager
def keep_gate_report(file: Path) -> Iterator[None]:
    """Write the report of a GateError that the block raises."""
    try:
        yield
    except GateError as error:
        write_text(file, error.report.to_csv())
        raise


def replace_entries(folder: Path, names: Iterable[str], source: str = UNFINISHED) -> None:
    """Replace the entries `names` of a run's folder by those in the folder `source` in it.

    Names that are not there are removed from the run's folder, and the rest of `source` as well.
    """
    new, names = folder / source, list(names)
    moved = [name for name in names if (new / name).exists()]
    removed = [name for name in names if name not in moved]
    write_json(new / LIST, {"move": moved, "remove": removed})
    complete_replacement(folder)


def complete_replacement(folder: Path) -> None:
    """Complete the replacements that a process began in a run's folder, if there are any.

    Raises LockedError if another process is at it for too long.
    """
    for new in (folder / UNFINISHED, folder / EXPORTED):
        if (new / LIST).is_file():
            lock = lock_folder(folder, "changed", "Wait until it ends.", TIMEOUT)
            try:
                with explained(folder):
                    move_entries(folder, new)
            finally:
                lock.release()


def move_entries(folder: Path, new: Path) -> None:
    """Move the entries on the list, and remove the list last; each step can be repeated."""
    try:
        listed = read_json(new / LIST)
        moved, removed = listed["move"], listed["remove"]
    except (ValueError, KeyError, TypeError):  # damaged: training continues from a checkpoint
        (new / LIST).unlink(missing_ok=True)
        return
    for name in removed:
        remove_entry(folder / name)
    for name in moved:
        if (new / name).exists():
            if (new / name).is_dir():
                remove_entry(folder / name)
            (new / name).replace(folder / name)
    for entry in new.iterdir():
        if entry.name != LIST:
            remove_entry(entry)
    (new / LIST).unlink()
    new.rmdir()


def remove_entry(path: Path) -> None:
    """Remove a file or a folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
