"""Apply a function to many photos in threads; Pillow releases the GIL while it decodes."""

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tqdm.std import tqdm

from birds.process import cpu_count

MAX_THREADS = 16
DELAY = 2  # seconds without a progress bar


def map_threads(function: Callable[[Any], Any], items: Sequence) -> list:
    """Return `function(item)` for each item in order, with a progress bar if a person watches."""
    options = {"file": sys.stdout, "leave": False, "delay": DELAY, "disable": not shows_progress()}
    with ThreadPoolExecutor(min(MAX_THREADS, cpu_count())) as pool:
        return list(tqdm(pool.map(function, items), total=len(items), **options))


def shows_progress() -> bool:
    """Return whether the output goes to a terminal or a notebook, unless TQDM_DISABLE is set."""
    is_watched = sys.stdout.isatty() or "ipykernel" in sys.modules
    return is_watched and not os.environ.get("TQDM_DISABLE")
