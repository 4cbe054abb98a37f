"""Do something with each of many photos, in threads, with a bar where a person looks."""

import sys

from fastcore.basics import IN_NOTEBOOK
from fastcore.parallel import parallel


def each(function, items: list, **options) -> list:
    """Return what `function` makes of each item; Pillow lets other threads run while it decodes."""
    seen = bool(items) and watched()
    return list(parallel(function, items, threadpool=True, progress=seen, **options))


def watched() -> bool:
    """Whether a person looks: a notebook or a terminal. fastprogress itself never asks."""
    return IN_NOTEBOOK or sys.stdout.isatty()
