"""Photos are classified from the command line, and a broken one is a row with its error."""

import csv
import json

import pytest

from birds import drawn
from tests.command_line import run_command, run_without
from tests.finders import TWO_BIRDS, draw_scene


@pytest.fixture
def photos(tmp_path):
    """Write three drawn birds and a broken photo into a folder."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for number, name in enumerate(list(drawn.SPECIES)[:3]):
        place = folder / "more" if number == 2 else folder
        (place / f"{number}.jpg").write_bytes(drawn.encode_photo(drawn.draw_bird(name, number)))
    (folder / "broken.jpg").write_bytes(b"no photo")
    (folder / "notes.txt").write_text("not listed")
    return folder


def test_a_folder_becomes_a_table_with_a_row_for_each_photo(photos, model):
    result = run_command("predict", photos, "--model", model)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[0].rsplit("/", 1)[-1] for line in lines[1:]] == [
        *("0.jpg", "1.jpg", "broken.jpg", "2.jpg"),
    ]
    assert "not a photo" in lines[3]
    assert "1 of 4" in result.stderr


def test_a_broken_photo_does_not_end_the_job_where_only_the_function_is_installed(
    photos, model, tmp_path
):
    hidden = ("torch", "fastai", "timm", "onnx", "pandas", "scipy", "yaml", "safetensors", "ray")
    words = ["predict", photos / "broken.jpg", photos / "0.jpg", "--model", model, "--csv", "-"]
    done = run_without((*hidden, "fsspec", "birdnames"), tmp_path, *words)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert [bool(row["error"]) for row in rows] == [False, True]  # sorted by path


def test_csv_and_json_hold_the_same_results(photos, model, tmp_path):
    files = tmp_path / "out/birds.csv", tmp_path / "birds.json"
    result = run_command(
        "predict",
        photos,
        "--model",
        model.parent,
        "--csv",
        files[0],
        "--json",
        files[1],
        "--top",
        2,
    )
    assert (result.exit_code, result.stdout) == (0, "")
    with files[0].open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    results = json.loads(files[1].read_text(encoding="utf-8"))
    assert [row["path"] for row in rows] == [each["path"] for each in results]
    for row, found in zip(rows, results, strict=True):
        for key in ("kind", "label", "text", "taxon", "error"):
            assert row[key] == (found[key] or "")
        assert row["shortlist"] == "; ".join(found["shortlist"] or [])
        assert row["crop"] == ",".join(map(str, found["crop"] or []))
        assert bool(row["error"]) == row["path"].endswith("broken.jpg")
        if not row["error"]:
            assert len(found["predictions"]) == 2
            assert found["predictions"][0]["common_name"] == row["common_name"]


def test_the_finder_decides_where_to_look_unless_the_middle_is_requested(
    tmp_path, model, finder_file
):
    photo, table = tmp_path / "bird.jpg", tmp_path / "birds.csv"
    photo.write_bytes(drawn.encode_photo(draw_scene(TWO_BIRDS)))
    for words, source in (((), "finder"), (("--crop", "center"), "center")):
        words = *words, "--finder", finder_file, "--model", model, "--csv", table
        result = run_command("predict", photo, *words)
        with table.open(newline="", encoding="utf-8") as file:
            (row,) = csv.DictReader(file)
        assert row["crop_from"] == source
        assert ("calibrated with no finder" in result.stderr) == (source == "finder")


def test_the_exit_status_is_1_if_no_photo_could_be_read(photos, model):
    result = run_command("predict", photos / "broken.jpg", "--model", model, "--csv", "-")
    assert result.exit_code == 1
    assert result.stdout.count("\n") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.jpg"], "none.jpg"),
        (["."], "."),
        ([".", "--csv", "-", "--json", "-"], "--csv"),
    ],
    ids=["missing", "empty folder", "two on standard output"],
)
def test_a_wrong_call_exits_with_status_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run_command("predict", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
