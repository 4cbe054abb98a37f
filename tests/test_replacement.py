"""A process that is killed while it replaces a run's files leaves no mixture of two runs."""

import contextlib
import itertools
import shutil
from pathlib import Path

import pytest

from fieldmark import replacement
from fieldmark.run_folder import RunFolder

NAMES = ("birds.onnx", "metrics.json", "competition.csv", "figures", "snapshots")


class Killed(BaseException):
    """SIGKILL, as far as the code can see."""


def write_tree(folder: Path, **contents: str) -> None:
    for name, content in contents.items():
        file = folder / name.replace("__", "/").replace("_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


def read_tree(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


@pytest.fixture(params=[replacement.UNFINISHED, replacement.EXPORTED])
def new(request):
    """Return the name of the folder that holds the new files."""
    return request.param


@pytest.fixture
def folder(tmp_path, new):
    """Return the folder of a finished run in which a new one is about to be finished."""
    old = dict.fromkeys(("birds_onnx", "metrics_json", "competition_csv", "figures__a_png"), "old")
    files = ("birds_onnx", "metrics_json", "figures__b_png", "snapshots__1_st")
    write_tree(tmp_path / "run", **old, notes_txt="mine")
    write_tree(tmp_path / "run" / new, **dict.fromkeys(files, "new"), checkpoints__a_pt="state")
    return tmp_path / "run"


def kill_at(monkeypatch, step: int) -> None:
    """Raise Killed in place of one of the calls that change the disk."""
    count = itertools.count()

    def killing(function):
        def call(*arguments, **options):
            if next(count) == step:
                raise Killed
            return function(*arguments, **options)

        return call

    for name in ("replace", "unlink", "rmdir"):
        monkeypatch.setattr(Path, name, killing(getattr(Path, name)))
    monkeypatch.setattr(shutil, "rmtree", killing(shutil.rmtree))


def test_a_replacement_that_is_killed_at_any_step_is_completed_or_has_not_begun(folder, new):
    before = read_tree(folder)
    for step in range(100):
        copy = folder.with_name(f"killed-{step}")
        shutil.copytree(folder, copy)
        with pytest.MonkeyPatch.context() as patch:
            kill_at(patch, step)
            try:
                replacement.replace_entries(copy, NAMES, new)
                break
            except Killed:
                pass
        RunFolder(copy)  # as `compare`, `publish` and `export` open it
        after = read_tree(copy)
        if after != before:
            files = ("birds.onnx", "metrics.json", "figures/b.png", "snapshots/1.st")
            assert after == dict.fromkeys(files, "new") | {"notes.txt": "mine"}
    assert 8 < step < 99


def test_a_damaged_list_of_what_moves_replaces_nothing(folder, new):
    (folder / new / replacement.LIST).write_text('{"move": ["birds')
    RunFolder(folder)
    assert (folder / "birds.onnx").read_text() == "old"
    assert (folder / new / "checkpoints/a.pt").read_text() == "state"


def test_an_export_that_fails_replaces_nothing_and_one_that_succeeds_leaves_the_rest(tmp_path):
    write_tree(tmp_path, birds_onnx="old", metrics_json="old")
    for error in (Killed, None):
        with contextlib.suppress(Killed), replacement.replaced_by_export(tmp_path) as scratch:
            write_tree(scratch, birds_onnx="new")
            if error:
                raise error
        expected = "old" if error else "new"
        assert read_tree(tmp_path) == {"birds.onnx": expected, "metrics.json": "old"}
