"""Many photos: the function's answers, one row each, whatever ends the job in between."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import psutil
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient

from benchmarks.memory import measure_tree
from birds.api import create_app
from fieldmark.bulk.addresses import SourceError
from fieldmark.bulk.classify import BatchClassifier
from fieldmark.bulk.job import FailureLimit, Job, JobError, describe_job
from fieldmark.bulk.local import run_local
from fieldmark.bulk.outputs import tables
from fieldmark.bulk.progress import describe_progress
from fieldmark.bulk.results import Results
from fieldmark.bulk.rows import SCHEMA
from fieldmark.bulk.run_job import EngineOptions, run_job
from fieldmark.bulk.sources import list_photos
from tests.command_line import run_command, run_without
from tests.conftest import ROOT


def by_path(tables) -> dict[str, dict]:
    rows = [row for table in tables for row in table.to_pylist()]
    assert len(rows) == len({row["path"] for row in rows})
    return {row["path"]: row for row in rows}


@pytest.mark.parametrize("where", ["auto", "center"])
def test_a_row_has_the_answer_of_the_function(options, photos, where):
    paths = [str(path) for path in sorted(photos.iterdir())] + [str(photos / "missing.jpg")]
    options = options._replace(where=where)
    table = BatchClassifier(options)(paths)
    assert table.schema == SCHEMA
    assert table["path"].to_pylist() == paths
    client = TestClient(create_app(options.model, finder=options.finder))
    sources = set()
    for row in table.to_pylist()[:-1]:
        with open(row["path"], "rb") as file:
            result = client.post("/api/classify", content=file, params={"crop": where}).json()
        if "detail" in result:
            assert row["error"] == result["detail"]
            assert {value for key, value in row.items() if key not in ("path", "error")} == {None}
            continue
        answer, first = result["answer"], result["predictions"][0]
        assert (row["kind"], row["text"]) == (answer["kind"], answer["text"])
        assert (row["shortlist"], row["label"]) == (answer["labels"], first["label"])
        assert row["probability"] == pytest.approx(first["probability"], abs=1e-5)
        assert row["unknown_score"] == pytest.approx(answer["unknown_score"], abs=1e-5)
        assert row["crop"] == result["photo"]["crop"]
        sources.add(row["crop_from"])
    assert sources == ({"finder", "center"} if where == "auto" else {"center"})
    assert "cannot be read" in table["error"].to_pylist()[-1]


def test_processes_give_the_rows_of_this_process(options, photos):
    paths = [str(path) for path in sorted(photos.iterdir())]
    expected = by_path([BatchClassifier(options)(paths)])
    found = by_path(run_local(options, paths, 2, 3))
    assert found.keys() == expected.keys()
    for path, row in found.items():
        numbers = {"probability", "unknown_score", "predictions", "boxes"}
        assert {key: row[key] for key in row.keys() - numbers} == {
            key: expected[path][key] for key in row.keys() - numbers
        }


def test_photos_of_a_process_that_is_killed_are_classified_by_another(options, link_photos):
    paths = [entry.path for entry in os.scandir(link_photos(300))]
    tables = run_local(options, paths, 2, 10)
    first = next(tables)
    for child in psutil.Process().children(recursive=True):
        if "spawn_main" in " ".join(child.cmdline()):
            child.kill()
            break
    rows = by_path([first, *tables])
    assert rows.keys() == set(paths)
    assert not any(row["error"] for row in rows.values())


def read_rows(folder) -> Counter:
    return Counter(Results(folder).read_table(["path"])["path"].to_pylist())


@pytest.mark.slow
@pytest.mark.soak
def test_a_job_that_is_killed_three_times_has_one_row_for_each_photo(
    options, link_photos, tmp_path, share, figures
):
    count, out, generator = max(5000, int(100_000 * share)), tmp_path / "out", random.Random(0)
    words = ["predict", link_photos(count), "--out", out, "--model", options.model]
    command = [sys.executable, "-m", "commands", *map(str, words), "--crop", "center"]
    done = []
    for _ in range(3):
        process = psutil.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        time.sleep(2.5 + generator.random() * max(1.5, 15 * share))
        children = process.children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.wait()
        _, alive = psutil.wait_procs(children, timeout=60)
        assert not alive
        done.append(Results(out).dataset.count_rows() if (out / "job.json").exists() else 0)
    subprocess.run(command, cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
    assert done == sorted(done)
    rows = read_rows(out)
    assert len(rows) == count
    assert set(rows.values()) == {1}
    assert Results(out).manifest["finished"]
    figures["killed job"] = {"photos": count, "rows after each kill": done}


@pytest.mark.slow
@pytest.mark.soak
def test_memory_at_the_end_is_that_after_a_tenth(options, link_photos, tmp_path, share, figures):
    count, out = max(5000, int(100_000 * share)), tmp_path / "out"
    words = ["predict", link_photos(count), "--out", out, "--model", options.model]
    command = [sys.executable, "-m", "commands", *map(str, words), "--crop", "center"]
    process, samples = psutil.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL), []
    while process.poll() is None:
        samples.append(measure_tree(process))
        time.sleep(0.1 if share < 1 else 1)
    assert process.returncode == 0
    started = next(i for i, each in enumerate(samples) if each > 0.8 * np.median(samples))
    working = samples[started:-1]  # without the start of the processes, and their end
    first, last = np.mean(working[len(working) // 10 :][:5]), np.mean(working[-5:])
    figures["memory of a job"] = {"photos": count, "MB after a tenth": first, "MB at the end": last}
    assert last < (1.1 if share == 1 else 1.5) * first


def test_the_same_command_goes_on_and_another_is_refused(options, photos, tmp_path):
    folder, where = tmp_path / "out", EngineOptions()
    paths = [str(path) for path in sorted(photos.glob("bird*"))]
    run_job(folder, paths[:2], ["some"], options, where, 1)
    before = {file.name: file.read_bytes() for file in (folder / "photos").iterdir()}
    assert run_job(folder, paths, ["all"], options, where, 1).photos == len(paths) - 2
    assert run_job(folder, paths, ["all"], options, where, 1).photos == 0
    for name, content in before.items():
        assert (folder / "photos" / name).read_bytes() == content
    assert read_rows(folder) == Counter(paths)
    with pytest.raises(JobError, match="another options"):
        run_job(folder, paths, ["all"], options._replace(exif=True), where, 1)


def test_photos_that_could_not_be_read_are_done_again_on_request(options, photos, tmp_path):
    folder, where = tmp_path / "out", EngineOptions()
    missing = tmp_path / "later.jpg"
    paths = [str(photos / "bird0.jpg"), str(missing)]
    for retry, failed in ((False, 1), (False, 0), (True, 1)):
        assert run_job(folder, paths, [], options, where, 1, retry).failed == failed
    missing.write_bytes((photos / "bird1.jpg").read_bytes())
    assert run_job(folder, paths, [], options, where, 1, True).photos == 1
    assert read_rows(folder) == Counter(paths)
    assert not any(Results(folder).read_table(["error"])["error"].to_pylist())


def test_a_job_of_relative_paths_goes_on_only_where_it_began(
    options, photos, tmp_path, monkeypatch
):
    monkeypatch.chdir(photos)
    run_job(tmp_path / "out", ["bird0.jpg"], [], options, EngineOptions(), 1)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(JobError, match="absolute"):
        run_job(tmp_path / "out", ["bird1.jpg"], [], options, EngineOptions(), 1)
    run_job(tmp_path / "out", [str(photos / "bird1.jpg")], [], options, EngineOptions(), 1)


def test_rows_that_came_before_an_error_are_kept(options, photos, tmp_path):
    from birds.identifier import Identifier

    identifier = Identifier.load(options.model)
    job = Job(tmp_path / "out", describe_job(identifier, options, []))
    rows = [dict.fromkeys(SCHEMA.names) | {"path": str(n), "error": "cut"} for n in range(300)]
    tables = (pa.Table.from_pylist(rows[n : n + 50], SCHEMA) for n in range(0, 300, 50))
    limit = FailureLimit(0.5)
    with pytest.raises(JobError, match="100 of them: cut"):
        list(job.record(limit.check_tables(tables)))
    job.close()
    assert len(read_rows(tmp_path / "out")) == 100


def test_without_the_extra_a_folder_is_classified_and_ray_is_asked_for(photos, model, tmp_path):
    hidden = ("ray", "fsspec", "birdnames", "torch", "fastai", "pandas", "scipy", "yaml")
    words = ["predict", photos, "--model", model, "--out", tmp_path / "out"]
    refused = run_without(hidden, tmp_path, *words, "--engine", "ray")
    assert refused.returncode == 2
    assert "make .venv/bulk" in refused.stderr
    done = run_without(hidden, tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert len(read_rows(tmp_path / "out")) == len(list(photos.iterdir()))


def test_progress_says_how_fast_and_how_long():
    line = describe_progress(250_000, 1_000_000, 125.0)
    assert line == "250,000 of 1,000,000 photos, 125 photos a second, time left: 1 h 40 min."
    assert "unknown" in describe_progress(0, 10, 0.0)


def test_an_address_that_cannot_be_opened_is_a_row_with_an_error(options, photos):
    paths = [str(photos / "bird0.jpg"), "nonsense://place/a.jpg", "a\0.jpg"]
    errors = BatchClassifier(options)(paths)["error"].to_pylist()
    assert errors[0] is None
    assert "nonsense" in errors[1]
    assert "cannot be read" in errors[2]


@pytest.mark.parametrize(
    "source", ["s3://key:secret@bucket/a", "https://x.org/a.jpg?sig=abc", "caf\udce9.jpg"]
)
def test_a_secret_or_a_name_that_is_no_text_is_refused_before_it_is_stored(source):
    with pytest.raises(SourceError) as caught:
        list(list_photos([source]))
    assert "secret" not in str(caught.value)
    assert "abc" not in str(caught.value)


def test_the_results_behind_a_file_are_those_of_its_photos(options, photos, tmp_path):
    out, words = tmp_path / "birds.csv", ["--model", options.model, "--crop", "center"]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.jpg").write_bytes((photos / "bird0.jpg").read_bytes())
    with pytest.MonkeyPatch.context() as patch:  # as if it were interrupted when all are classified
        patch.setattr(tables, "write_csv", lambda *_: sys.exit(1))
        run_command("predict", tmp_path / "a", "--csv", out, *words)
    assert len(list(tmp_path.glob("birds.csv.*.job"))) == 1
    for name in ("b", "a"):
        assert run_command("predict", tmp_path / name, "--csv", out, *words).exit_code == 0
        assert [line.split(",")[0] for line in out.read_text().splitlines()[1:]] == [
            str(tmp_path / name / f"{name}.jpg")
        ]
    assert not list(tmp_path.glob("birds.csv.*.job"))


def test_options_that_need_an_output_are_not_ignored(photos):
    result = run_command("predict", photos, "--exif")
    assert result.exit_code == 2
    assert "--out" in result.stderr
