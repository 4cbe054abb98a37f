"""Run a job: list the photos, classify those that are left, and write their rows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from birds.identifier import Identifier
from birds.process import cpu_count
from fieldmark.bulk.classify import MODEL_BATCH, BatchClassifier, ClassifyOptions, split_batches
from fieldmark.bulk.job import FailureLimit, Job, describe_job
from fieldmark.bulk.local import run_local
from fieldmark.bulk.progress import Progress
from fieldmark.taxonomy import complete_labels

BATCH = 64  # photos that a worker gets at a time
FEW = 64  # photos that are classified sooner than other processes start
AUTO, LOCAL, RAY = "auto", "local", "ray"


class EngineOptions(NamedTuple):
    """Where a job runs: `engine` is AUTO, LOCAL or RAY; `address` that of a Ray cluster.

    AUTO is Ray with an address, and processes of this computer without. `workers` are None for one
    per CPU.
    """

    engine: str = AUTO
    address: str | None = None
    workers: int | None = None
    batch: int = BATCH


def run_job(
    folder: Path,
    paths: Iterable[str],
    sources: Sequence[str],
    options: ClassifyOptions,
    where: EngineOptions,
    max_failures: float,
    retry: bool = False,
    notify: Callable[[Identifier], None] = lambda _: None,
) -> FailureLimit:
    """Classify photos into a folder of Results; return how many of them failed in this run.

    Photos that have a row there already are left out, with `retry` only those that were read.
    `notify` is called with the models. Raises JobError and LockedError.
    """
    classifier = load_classifier(options)
    notify(classifier.identifier)
    labels = complete_labels(classifier.identifier.classifier.card["labels"])
    options = options._replace(labels=tuple(labels))
    classifier.options = classifier.options._replace(labels=options.labels)
    job = Job(folder, describe_job(classifier.identifier, options, sources))
    try:
        if retry:
            job.drop_errors()
        left = job.plan(paths)
        failures = FailureLimit(max_failures)
        if left:
            progress = Progress(len(left), job.manifest["photos"])
            tables = job.record(progress.show(start_engine(classifier, options, left, where)))
            with closing(tables):  # writes what waits, before another process may
                for _ in failures.check_tables(tables):
                    pass
        job.finish()
        return failures
    finally:
        job.close()


def start_engine(
    classifier: BatchClassifier,
    options: ClassifyOptions,
    paths: Sequence[str],
    where: EngineOptions,
) -> Iterator[pa.Table]:
    """Return an iterator of tables of rows, which does the work as it is advanced.

    `classifier` is that of this process, for few photos; other workers load their own.
    """
    engine = where.engine
    if engine == AUTO:
        engine = RAY if where.address else LOCAL
    if engine == RAY:
        from fieldmark.bulk.ray_engine import run_ray

        return run_ray(options, paths, where.workers, where.batch, where.address)
    if len(paths) <= FEW:
        return classify_here(classifier, paths)
    del classifier.identifier  # the memory of its models
    return run_local(options, paths, where.workers or cpu_count(), where.batch)


def load_classifier(options: ClassifyOptions) -> BatchClassifier:
    """Return a classifier of this process, which all CPUs compute."""
    return BatchClassifier(options._replace(threads=cpu_count()))


def classify_here(classifier: BatchClassifier, paths: Iterable[str]) -> Iterator[pa.Table]:
    """Yield tables of rows in the order of the paths, classified in this process."""
    for batch in split_batches(paths, MODEL_BATCH):
        yield classifier(batch)
