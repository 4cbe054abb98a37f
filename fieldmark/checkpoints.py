"""Checkpoint files: their names hold the epoch and a checksum, which is verified before use."""

import re
from pathlib import Path
from typing import Any

from fieldmark.disk import explained
from fieldmark.files import PARTIAL, sha256_file

NAME = re.compile(r"(?P<phase>.+)-(?P<epoch>\d{4,})-(?P<digest>[0-9a-f]{16})\.pt")


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
            target = folder / f"{phase}-{epoch:04}-{sha256_file(scratch)[:16]}.pt"
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
    """Return the latest undamaged checkpoint of each phase; say which files are damaged."""
    states = {}
    for phase in sorted({phase_of(file) for file in folder.glob("*.pt")}):
        loaded = map(load_checkpoint, list_checkpoints(folder, phase))
        if state := next(filter(None, loaded), None):
            states[phase] = state
    return states


def load_checkpoint(file: Path) -> dict[str, Any] | None:
    """Return the content of a checkpoint; None if it is damaged, which is reported."""
    import torch

    match = NAME.fullmatch(file.name)
    try:
        if match and sha256_file(file).startswith(match["digest"]):
            state = torch.load(file, map_location="cpu", weights_only=True)
            if {"identity", "history"} <= state.keys():
                return state
    except Exception:  # noqa: S110  a damaged file raises anything
        pass
    print(f"{file} is damaged and is not used; training continues from an earlier epoch.")
    file.unlink(missing_ok=True)
    return None


def tensor_bytes(value: Any) -> int:
    """Return the bytes of all tensors in nested dictionaries and lists."""
    if isinstance(value, dict):
        return sum(map(tensor_bytes, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(tensor_bytes, value))
    return getattr(value, "nbytes", 0)
