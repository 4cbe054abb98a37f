"""Many photo files in one call: rows in order, errors as rows, bounded memory."""

import sys

import pytest

from benchmarks.hostile_photos import lossless_webp
from birds import drawn
from birds.batch import COLUMNS, classify_files, find_photos
from birds.crops import overlap
from birds.errors import UserError
from birds.photo import MAX_BYTES
from tests.birds.photos import encode_png
from tests.finders import TWO_BIRDS, draw_scene

BIRD = drawn.encode_photo(drawn.draw_bird("Green_Inkling"))


def test_a_broken_photo_is_a_row_with_its_error_and_the_others_are_classified(identifier, tmp_path):
    (tmp_path / "bird.jpg").write_bytes(BIRD)
    (tmp_path / "letter.jpg").write_bytes(b"Dear bird,")
    (tmp_path / "bomb.webp").write_bytes(lossless_webp())
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    names = ["bird.jpg", "letter.jpg", "missing.jpg", "large.jpg", "bomb.webp", "bird.jpg"]
    rows = list(classify_files(identifier, [tmp_path / name for name in names], top=3))
    assert [row["path"] for row in rows] == [str(tmp_path / name) for name in names]
    assert all(set(row) == {*COLUMNS, "predictions"} for row in rows)
    first, *bad, last = rows
    assert first == last
    assert first["error"] is None
    assert len(first["predictions"]) == 3
    assert first["label"] == first["predictions"][0]["label"]
    assert first["probability"] == first["predictions"][0]["probability"]
    assert first["label"] in first["shortlist"].split("; ")
    for row in bad[: 4 if sys.platform == "linux" else 3]:  # elsewhere the bomb is decoded
        assert row["error"]
        assert row["label"] is row["predictions"] is None
    assert "MiB" in bad[2]["error"]


def test_a_row_says_where_the_model_looked(identifier, tmp_path):
    (tmp_path / "bird.png").write_bytes(encode_png(draw_scene(TWO_BIRDS)))
    found, centre = (
        next(classify_files(identifier, [tmp_path / "bird.png"], where=where))
        for where in ("auto", "center")
    )
    assert (centre["crop"], centre["crop_from"]) == ("120,0,480,480", "center")
    assert found["crop_from"] == "finder"
    square = [int(number) for number in found["crop"].split(",")]
    assert max(overlap(square, place[1:] + place[3:]) for place in TWO_BIRDS) > 0.5


def test_photos_are_read_as_rows_are_taken(identifier, tmp_path):
    (tmp_path / "bird.jpg").write_bytes(BIRD)
    requested = []

    def paths():
        for number in range(1000):
            requested.append(number)
            yield tmp_path / "bird.jpg"

    rows = classify_files(identifier, paths(), workers=2)
    next(rows)
    rows.close()
    assert len(requested) < 10


def test_folders_are_searched_at_any_depth_and_files_taken_as_they_are(tmp_path):
    for name in ("b.JPG", "a/c.heic", "a/notes.txt", "photo"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    photos = find_photos([tmp_path / "photo", tmp_path])
    assert [path.name for path in photos] == ["photo", "c.heic", "b.JPG"]
    with pytest.raises(UserError, match="missing"):
        list(find_photos([tmp_path / "missing"]))
