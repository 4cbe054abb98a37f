"""A job on many photos: its folder, the photos that are left, and the one writer of rows."""

import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from birds.identifier import Identifier
from fieldmark.bulk.addresses import is_address
from fieldmark.bulk.classify import ClassifyOptions
from fieldmark.bulk.results import VERSION, Results
from fieldmark.bulk.rows import SCHEMA
from fieldmark.errors import UserError
from fieldmark.files import PARTIAL, atomic_path, sha256_file, write_json
from fieldmark.locking import lock_folder

FLUSH_SECONDS, FLUSH_SHARE = (1.0, 30.0), 0.02  # rows wait so long, or this share of the time
FLUSH_ROWS = 20_000  # that wait at most; a job that is killed loses those that wait
FEWEST = 100  # photos of which the share of errors can end a job
SAME = ("model", "finder", "labels", "thresholds", "options")  # of the manifest, when resuming


class JobError(UserError):
    """A job cannot start, resume or go on."""


class Job:
    """A job whose rows go to a folder of Results; photos that have a row are not done again.

    Only one process at a time may write to the folder. Each file of rows appears whole or not at
    all, and the `path` of a row is unique. Raises LockedError, and JobError if the folder has the
    results of another model or other options.
    """

    def __init__(self, folder: Path, manifest: dict):
        self.folder, self.rows_folder = folder, folder / "photos"
        self.lock = lock_folder(folder, "written", "Wait for it, or choose another --out.")
        previous = read_manifest(folder)
        if changed := [key for key in SAME if previous and previous[key] != manifest[key]]:
            self.lock.release()
            raise JobError(
                f"{folder} has results with another {' and '.join(changed)}. Choose another folder "
                "with --out, or repeat the command that these results were made with."
            )
        self.rows_folder.mkdir(exist_ok=True)
        for file in self.rows_folder.glob(f"*{PARTIAL}"):  # of a process that was killed
            file.unlink()
        kept = {key: previous[key] for key in ("started", "folder") if previous}
        self.manifest = manifest | kept
        self.waiting: list[pa.Table] = []
        self.began = self.flushed = time.monotonic()
        self.write_manifest()

    def write_manifest(self) -> None:
        """Write job.json."""
        write_json(self.folder / "job.json", self.manifest)

    def plan(self, paths: Iterable[str]) -> list[str]:
        """Return the photos that have no row yet, and record how many there are in all."""
        done = set()
        for batch in Results(self.folder).read_batches(["path"]):
            done.update(batch["path"].to_pylist())
        left = [path for path in paths if path not in done]
        start = self.manifest["folder"]
        if start != str(Path.cwd()) and any(map(is_relative, left)):
            raise JobError(
                f"The paths in {self.folder} start from {start}, and this is another folder. Start "
                "the command there, or give absolute paths."
            )
        self.manifest |= {"photos": len(done) + len(left), "finished": None}
        self.write_manifest()
        return left

    def drop_errors(self) -> None:
        """Remove the rows of photos that could not be read, so that these are left to do."""
        for file in sorted(self.rows_folder.glob("part-*.parquet")):
            table = pq.read_table(file, schema=SCHEMA)
            kept = table.filter(table["error"].is_null())
            if not len(kept):
                file.unlink()
            elif len(kept) < len(table):
                write_rows(kept, file)

    def record(self, tables: Iterable[pa.Table]) -> Generator[pa.Table]:
        """Write tables of rows as they come, and yield each after it was taken over.

        What was taken over is written before this returns or raises, or is closed.
        """
        try:
            for table in tables:
                self.waiting.append(table)
                if self.is_late() or sum(map(len, self.waiting)) >= FLUSH_ROWS:
                    self.flush()
                yield table
        finally:
            self.flush()

    def is_late(self) -> bool:
        """Return whether rows have waited long enough: a long job writes few files."""
        now, (shortest, longest) = time.monotonic(), FLUSH_SECONDS
        patience = min(max(FLUSH_SHARE * (now - self.began), shortest), longest)
        return now - self.flushed > patience

    def flush(self) -> None:
        """Write the rows that wait as one Parquet file."""
        self.flushed = time.monotonic()
        if not self.waiting:
            return
        numbers = [int(file.stem.split("-")[1]) for file in self.rows_folder.glob("part-*.parquet")]
        file = self.rows_folder / f"part-{max(numbers, default=-1) + 1:06}.parquet"
        write_rows(pa.concat_tables(self.waiting), file)
        self.waiting = []

    def finish(self) -> None:
        """Record that all photos have a row."""
        self.manifest["finished"] = utc_now()
        self.write_manifest()

    def close(self) -> None:
        """Let other processes write to the folder."""
        self.lock.release()


def write_rows(table: pa.Table, file: Path) -> None:
    """Write rows as a Parquet file, atomically."""
    with atomic_path(file, table.nbytes) as scratch:
        pq.write_table(table, scratch, compression="zstd")


def is_relative(path: str) -> bool:
    """Return whether a path depends on the current folder."""
    return not (is_address(path) or Path(path).is_absolute())


def read_manifest(folder: Path) -> dict:
    """Return the manifest of results, {} if the folder has none; raises ResultsError."""
    return Results(folder).manifest if (folder / "job.json").is_file() else {}


def describe_job(identifier: Identifier, options: ClassifyOptions, sources: Sequence[str]) -> dict:
    """Return the manifest of a job that starts now in the current folder."""
    classifier, finder = identifier.classifier, identifier.finder
    version = finder and finder.version | {"sha256": finder.sha256}
    return {
        "version": VERSION,
        "model": classifier.version | {"sha256": sha256_file(options.model)},
        "finder": version,
        "labels": list(options.labels or classifier.card["labels"]),
        "thresholds": classifier.card.get("thresholds"),
        "options": {key: getattr(options, key) for key in ("where", "top", "exif", "embedding")},
        "sources": list(sources),
        "folder": str(Path.cwd()),
        "started": utc_now(),
        "finished": None,
        "photos": None,
    }


def utc_now() -> str:
    """Return the time in UTC as ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class FailureLimit:
    """Ends a job of which too large a share of photos cannot be read.

    `errors` counts the photos by the reason.
    """

    def __init__(self, share: float):
        self.share, self.photos, self.errors = share, 0, Counter()

    @property
    def failed(self) -> int:
        """The number of photos that could not be read."""
        return self.errors.total()

    def check_tables(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Yield tables of rows; raise JobError after one with which too many rows are errors."""
        for table in tables:
            self.photos += len(table)
            self.errors.update(table["error"].drop_null().to_pylist())
            yield table
            if self.photos >= FEWEST and self.failed > self.share * self.photos:
                reason, count = self.errors.most_common(1)[0]
                raise JobError(
                    f"{self.failed:,} of {self.photos:,} photos could not be read, more than "
                    f"--max-failures allows; {count:,} of them: {reason} All rows so far are kept. "
                    "Correct the cause, or allow more, and start the same command with --retry."
                )
