"""Divide photos without birds: half for training the finder, half for all that evaluates it."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def split_grounds(files: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Return the photos that the finder trains on, and those held out from it.

    A photo's file name decides, so that every run and every list of photos divides them alike:
    thresholds and reported figures come from grounds on which no finder was trained.
    """
    halves: tuple[list[Path], list[Path]] = ([], [])
    for file in files:
        halves[hashlib.sha256(file.name.encode()).digest()[0] % 2].append(file)
    return halves
