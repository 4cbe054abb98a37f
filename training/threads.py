"""Do something with each of many photos, in threads, with a bar where a person looks."""

import sys

from fastcore.basics import IN_NOTEBOOK
from fastcore.parallel import parallel


def each(function, items: list, **options) -> list:
    """Return what `function` makes of each item; Pillow lets other threads run while it decodes."""
    seen = bool(items) and (IN_NOTEBOOK or sys.stdout.isatty())  # fastprogress itself never asks
    return list(parallel(function, items, threadpool=True, progress=seen, **options))
