"""Show how far a job is, how fast, and how long it still takes."""

import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator

import pyarrow as pa

PERIODS = {True: 1.0, False: 30.0}  # seconds between two lines, on a terminal or in a file
WINDOW = 60.0  # seconds over which the speed is measured


class Progress:
    """Prints a line on standard error now and then; `left` photos are to do of `total`."""

    def __init__(self, left: int, total: int):
        self.done, self.total = total - left, total
        self.marks = deque([(time.monotonic(), self.done)])
        self.printed = -PERIODS[False]
        self.on_terminal = sys.stderr.isatty()

    def show(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Yield tables of rows, and print a line as they pass."""
        for table in tables:
            yield table
            self.done += len(table)
            now = time.monotonic()
            self.marks.append((now, self.done))
            while now - self.marks[0][0] > WINDOW:
                self.marks.popleft()
            if now - self.printed >= PERIODS[self.on_terminal]:
                self.write_line(describe_progress(self.done, self.total, self.rate()))
                self.printed = now
        self.write_line(f"{self.done:,} of {self.total:,} photos.", last=True)

    def rate(self) -> float:
        """Return the photos per second of the last minute."""
        (start, before), (end, after) = self.marks[0], self.marks[-1]
        return (after - before) / max(end - start, 1e-3)

    def write_line(self, line: str, last: bool = False) -> None:
        """Print a line, over the one before on a terminal."""
        start, end = ("\r\x1b[K", "\n" if last else "") if self.on_terminal else ("", "\n")
        sys.stderr.write(f"{start}{line}{end}")
        sys.stderr.flush()


def describe_progress(done: int, total: int, rate: float) -> str:
    """Return a sentence with the photos done, the speed and the time left."""
    left = format_duration((total - done) / rate) if rate > 0 else "unknown"
    return f"{done:,} of {total:,} photos, {rate:.3g} photos a second, time left: {left}."


def format_duration(seconds: float) -> str:
    """Return a duration in words, such as "2 h 05 min" or "40 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes_left:02} min"
    return f"{minutes} min" if minutes >= 2 else f"{60 * minutes + rest} s"
