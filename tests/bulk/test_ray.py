"""Ray Data classifies as the local processes do, and a worker that is killed loses no row."""

import os
import subprocess
import sys
import textwrap

import pyarrow as pa
import pytest

from fieldmark.bulk import ray_engine
from fieldmark.bulk.classify import BatchClassifier
from fieldmark.bulk.sources import list_photos
from fieldmark.errors import UserError
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

JOB = """
    import pickle, sys
    from fieldmark.bulk.ray_engine import run_ray
    options, paths, killed = pickle.load(open(sys.argv[1], "rb"))
    tables = []
    for table in run_ray(options, paths, 2, 2, None):
        tables.append(table)
        if killed and len(tables) == 1:
            import os, signal, psutil
            family = psutil.Process().children(recursive=True)
            names = [(p, " ".join(p.cmdline())) for p in family]
            victims = [p for p, name in names if "MapWorker" in name or "ray::Map" in name]
            os.kill(victims[0].pid, signal.SIGKILL)
    pickle.dump(tables, open(sys.argv[2], "wb"))
"""


def run_in_process(options, paths, tmp_path, killed=False):
    """Return the rows of a job with Ray in a process of its own, sorted by path."""
    import pickle

    files = tmp_path / "job", tmp_path / "rows"
    files[0].write_bytes(pickle.dumps((options, paths, killed)))
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT}/azure_function"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(JOB), *map(str, files)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert killed or not done.stdout  # Ray reports a process that was killed
    return pa.concat_tables(pickle.loads(files[1].read_bytes())).sort_by("path")  # noqa: S301


@pytest.mark.parametrize("killed", [False, True], ids=["calm", "a worker is killed"])
def test_rows_are_those_of_one_process_each_once(killed, options, photos, tmp_path):
    paths = list(list_photos([str(photos)]))
    rows = run_in_process(options, paths, tmp_path, killed)
    expected = BatchClassifier(options)(paths).sort_by("path")
    assert rows["path"].to_pylist() == expected["path"].to_pylist()
    columns = ["kind", "label", "width", "height", "error"]
    assert rows.select(columns).equals(expected.select(columns))


def test_an_error_of_ours_in_a_worker_is_the_error_of_the_job():
    cause = UserError("This model is not one.")
    wrapped = RuntimeError("in a worker")
    wrapped.__cause__ = cause
    assert ray_engine.describe_error(wrapped) is cause
    assert "kept" in str(ray_engine.describe_error(RuntimeError("The actor died.\n at ...")))
