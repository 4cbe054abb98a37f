"""Ray Data classifies as the local processes do, and a worker that is killed loses no row."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pyarrow as pa
import pytest

from commands.serve import is_port_used
from fieldmark.bulk import ray_engine
from fieldmark.bulk.classify import BatchClassifier
from fieldmark.bulk.results import Results
from fieldmark.bulk.sources import list_photos
from fieldmark.errors import UserError
from tests.browser import free_port, wait_until
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


@pytest.fixture
def cluster(tmp_path_factory):
    """Start a cluster on this computer; return its address and the environment to join it."""
    port, folder = free_port(), tmp_path_factory.mktemp("ray")
    ray = Path(sys.executable).with_name("ray")
    environment = os.environ | ray_engine.QUIET | {"RAY_AUTH_MODE": "disabled"}
    options = ["--head", f"--port={port}", "--num-cpus=2", "--include-dashboard=false"]
    options += ["--object-store-memory=200000000", f"--temp-dir={folder}"]
    command = [ray, "start", "--block", *options]  # `ray stop` would end those of other tests too
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: is_port_used(port))
    yield f"127.0.0.1:{port}", environment
    process.terminate()
    process.wait(60)


def test_predict_runs_on_a_cluster_that_gets_code_and_models(cluster, options, photos, tmp_path):
    address, environment = cluster
    words = ["predict", photos, "--out", tmp_path / "out", "--address", address]
    words += ["--model", options.model, "--finder", options.finder]
    done = subprocess.run(
        [sys.executable, "-m", "commands", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    rows = Results(tmp_path / "out").read_table()
    expected = BatchClassifier(options)(sorted(map(str, photos.iterdir()))).sort_by("path")
    columns = ["path", "kind", "label", "width", "height", "error"]
    assert rows.select(columns).equals(expected.select(columns))


def test_an_error_of_ours_in_a_worker_is_the_error_of_the_job():
    cause = UserError("This model is not one.")
    wrapped = RuntimeError("in a worker")
    wrapped.__cause__ = cause
    assert ray_engine.describe_error(wrapped) is cause
    assert "kept" in str(ray_engine.describe_error(RuntimeError("The actor died.\n at ...")))
