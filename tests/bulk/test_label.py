"""Tests of sidecars and folders of species: nothing is lost, and undo restores everything."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from commands.main import app
from fieldmark.bulk.outputs import label_photos, sidecars
from fieldmark.bulk.results import Results
from tests.bulk.sample_results import write_sample_results
from tests.conftest import ROOT

COUNT = 60


@pytest.fixture
def results(tmp_path, monkeypatch) -> Path:
    """Results of photos that are files, with a sidecar of somebody else among them."""
    monkeypatch.chdir(tmp_path)
    folder = write_sample_results(tmp_path / "results", COUNT)
    for row in Results(folder).read_table(["path"]).to_pylist():
        path = tmp_path / row["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(row["path"].encode())
    (tmp_path / "photos/camera0/00000.jpg.xmp").write_text("not ours")
    return folder


def snapshot(folder: Path) -> dict[str, bytes | str]:
    """Return each file's content and each link's target below a folder; b"/" for folders."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.name == ".lock":  # which predict leaves there, too
            continue
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = os.readlink(path)
        else:
            found[name] = path.read_bytes() if path.is_file() else b"/"
    return found


def run(*arguments) -> str:
    done = CliRunner().invoke(app, ["label", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


def test_undo_restores_the_folder_byte_for_byte(results, tmp_path):
    before = snapshot(tmp_path)
    for options in (["--xmp", "--copy", "sorted"], ["--link", "sorted/deep"], ["--xmp"]):
        output = run(results, *options)
        assert ("photos/camera0/00000.jpg.xmp is not ours" in output) == ("--xmp" in options)
        after = snapshot(tmp_path)
        assert {name: after[name] for name in before} == before
        assert len(after) > len(before) + COUNT - 3
        run(results, *options)  # again, which changes nothing
        again = snapshot(tmp_path)
        assert again == after
        assert "was changed" not in run(results, "--undo")
        assert snapshot(tmp_path) == before


def test_every_photo_is_in_the_folder_of_its_answer(results, tmp_path):
    run(results, "--copy", "c")
    run(results, "--link", "l")
    for row in Results(results).read_table().to_pylist():
        name = {"species": row["common_name"], None: "_unreadable"}
        folder = name.get(row["kind"], f"_{row['kind']}")
        for root in ("c", "l"):
            assert (tmp_path / root / folder / row["path"]).read_bytes() == row["path"].encode()


def test_a_sidecar_has_the_names_as_keywords(results, tmp_path):
    run(results, "--xmp")
    for row in Results(results).read_table().to_pylist()[1:]:
        file = tmp_path / f"{row['path']}.xmp"
        assert file.exists() == (row["error"] is None)
        if row["error"] is None:
            bags = ElementTree.parse(file).iter(  # noqa: S314
                f"{{{sidecars.RDF}}}Bag"
            )
            flat, tree = ([item.text for item in bag] for bag in bags)
            expected = [row["common_name"], row["scientific_name"]]
            assert (flat == expected) == (row["kind"] == "species")
            assert all(word and word.startswith(f"Fieldmark|{row['kind']}") for word in tree)


def test_files_that_were_changed_since_are_kept_and_reported(results, tmp_path):
    run(results, "--xmp", "--copy", "sorted")
    changed = [
        tmp_path / "photos/camera1/00001.jpg.xmp",
        next((tmp_path / "sorted").rglob("*.jpg")),
    ]
    for path in changed:
        path.write_text("changed by a person")
    (tmp_path / "sorted/mine.txt").write_text("mine")
    output = run(results, "--undo")
    assert all(f"{path} was changed since and is kept" in output for path in changed)
    left = [path for path in (tmp_path / "sorted").rglob("*") if path.is_file()]
    assert sorted(left) == sorted([changed[1], tmp_path / "sorted/mine.txt"])
    assert "Removed 0 files" in run(results, "--undo")
    assert "is not ours or was changed" in run(results, "--xmp")


KILLED = """
import os, shutil, sys
from pathlib import Path
from commands.main import main
real, calls = shutil.copy2, iter(range(100))
def copy(source, target):
    if next(calls) == 7:
        Path(target).write_bytes(b"half")
        os._exit(9)
    return real(source, target)
shutil.copy2 = copy
sys.argv = ["fieldmark", "label", "results", "--copy", "sorted"]
main()
"""


@pytest.mark.parametrize("again", [False, True])
def test_a_killed_run_can_be_finished_and_undone(results, tmp_path, again):
    before = snapshot(tmp_path)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT}/azure_function"}
    done = subprocess.run([sys.executable, "-c", KILLED], env=environment)
    assert done.returncode == 9
    assert len(list(tmp_path.glob("sorted/**/*.partial"))) == 1
    with (results / "labelled.jsonl").open("a") as file:
        file.write('{"path": "/half')  # of a line
    if again:
        run(results, "--copy", "sorted")
        assert len([p for p in (tmp_path / "sorted").rglob("*") if p.is_file()]) == COUNT
    run(results, "--undo")
    assert snapshot(tmp_path) == before


def test_a_photo_that_is_gone_is_reported(results, tmp_path):
    (tmp_path / "photos/camera1/00001.jpg").unlink()
    before = snapshot(tmp_path)
    for options in (["--xmp"], ["--copy", "sorted"]):
        assert "00001.jpg does not exist any more" in run(results, *options)
    assert not [name for name in snapshot(tmp_path) if name.endswith("00001.jpg.xmp")]
    run(results, "--undo")
    assert snapshot(tmp_path) == before


def test_names_are_safe_on_every_file_system():
    assert label_photos.safe_name('a/b\\c:"*?. ') == "a_b_c____"
    assert label_photos.below("/x/../y.jpg") == Path("x/_up/y.jpg")


@pytest.mark.parametrize("options", [[], ["--undo", "--xmp"], ["--copy", "a", "--link", "b"]])
def test_options_that_do_not_fit_are_refused(results, options):
    done = CliRunner().invoke(app, ["label", str(results), *options])
    assert (done.exit_code, "--undo" in done.output) == (2, True)
