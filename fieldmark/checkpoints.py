"""Checkpoint files: their names hold the epoch and a checksum, which is verified before use."""

import re
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from fieldmark.disk import explained
from fieldmark.errors import RunError
from fieldmark.files import PARTIAL, sha256_file

DIGITS = 16  # of the SHA-256 in a name
NAME = re.compile(rf"(?P<phase>.+)-(?P<epoch>\d{{4,}})-[0-9a-f]{{{DIGITS}}}\.pt")
DAMAGED = ".damaged"  # is added to the name of a file whose checksum is wrong


def save_checkpoint(folder: Path, phase: str, epoch: int, state: dict[str, Any]) -> Path:
    """Save the state of a phase after an epoch, and keep that of the epoch before it.

    Raises DiskError if the disk is full; the checkpoints of the epochs before are complete then.
    """
    import torch

    for file in list_checkpoints(folder, phase):
        if epoch_of(file) != epoch - 1:
            file.unlink()
    scratch = folder / f"{phase}-{epoch:04}{PARTIAL}"
    with explained(scratch, tensor_bytes(state)):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with scratch.open("wb") as file:  # given a path, torch hides why it could not write
                torch.save(state, file)
            target = folder / f"{phase}-{epoch:04}-{sha256_file(scratch)[:DIGITS]}.pt"
            return scratch.replace(target)
        finally:
            scratch.unlink(missing_ok=True)


def list_checkpoints(folder: Path, phase: str) -> list[Path]:
    """Return the checkpoint files of a phase, the latest first."""
    files = [file for file in folder.glob("*.pt") if phase_of(file) == phase]
    return sorted(files, key=epoch_of, reverse=True)


def phase_of(file: Path) -> str:
    """Return the phase that a checkpoint's name states, "" for another file."""
    match = NAME.fullmatch(file.name)
    return match["phase"] if match else ""


def epoch_of(file: Path) -> int:
    """Return the epoch that a checkpoint's name states, 0 for another file."""
    match = NAME.fullmatch(file.name)
    return int(match["epoch"]) if match else 0


def load_checkpoints(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the latest undamaged checkpoint of each phase; say which files are damaged.

    Files with other names are ignored. Raises DiskError and RunError for files that are not
    damaged, but cannot be read.
    """
    states = {}
    for phase in sorted({phase_of(file) for file in folder.glob("*.pt")} - {""}):
        loaded = map(load_checkpoint, list_checkpoints(folder, phase))
        if state := next(filter(None, loaded), None):
            states[phase] = state
    return states


def load_checkpoint(file: Path) -> dict[str, Any] | None:
    """Return the content of a checkpoint; None if it is damaged, which is reported."""
    import torch

    digest = file.stem[-DIGITS:]
    with explained(file):
        if not sha256_file(file).startswith(digest):
            kept = file.replace(file.with_name(file.name + DAMAGED))
            print(f"{file} is damaged and is not used. It is now {kept.name}.")
            return None
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except UnpicklingError as error:
            raise RunError(
                f"{file} is not damaged, but this version of torch cannot read it. Resume with the "
                "version that wrote it, or move the file away."
            ) from error


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of all phases, but not those that are set aside as damaged."""
    for file in folder.glob("*.pt"):
        if phase_of(file):
            file.unlink()


def tensor_bytes(value: Any) -> int:
    """Return the bytes of all tensors in nested dictionaries and lists."""
    if isinstance(value, dict):
        return sum(map(tensor_bytes, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(tensor_bytes, value))
    return getattr(value, "nbytes", 0)
