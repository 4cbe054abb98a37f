"""Photos with their pasted copies."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from birds import drawn
from fieldmark.finder.field_photos import SHARES, FieldPhotos


@pytest.fixture
def photos(tmp_path):
    """Draw a small bird in a file, and a ground in another."""
    bird = drawn.encode_photo(drawn.draw_bird("Night_Inkling", 0, 80, 60))
    (tmp_path / "bird.jpg").write_bytes(bird)
    (tmp_path / "ground.png").write_bytes(
        drawn.encode_photo(Image.new("RGB", (90, 120), "white"), "PNG")
    )
    return pd.DataFrame({"path": ["bird.jpg"], "label": "Night Inkling", "split": "valid"})


def test_a_photo_as_it_is_and_its_copy_with_hard_edges_have_half_of_the_weight_each(
    photos, tmp_path
):
    field = FieldPhotos(photos, tmp_path, [tmp_path / "ground.png"])
    assert list(field) == ["bird.jpg", "bird.jpg (pasted 1)", "bird.jpg (pasted 2)"]
    assert field["bird.jpg"] == (tmp_path / "bird.jpg").read_bytes()
    assert field.table["weight"].tolist() == [0.5, 0.5, 0.0]
    assert set(field.table["original"]) == {"bird.jpg"}
    assert field.table["edge"].iloc[1] == "hard" != field.table["edge"].iloc[2]
    assert field.table["share"].isna().tolist() == [True, False, False]
    for path, share in field.table[["path", "share"]].iloc[1:].itertuples(index=False):
        assert SHARES[0] < share < SHARES[1]
        image = Image.open(io.BytesIO(field[path]))
        assert image.size == (
            120,
            160,
        )  # twice the shorter side of the bird, and the ground's sides
        dark = np.nonzero(np.asarray(image).min(2) < 200)
        extent = max(np.ptp(rows) for rows in dark)
        assert extent <= share * 120 + 1


def test_copies_depend_on_the_path_only_and_differ_from_each_other(photos, tmp_path):
    first, second = (FieldPhotos(photos, tmp_path) for _ in range(2))  # drawn grounds
    assert dict(first) == dict(second)
    assert first.table.equals(second.table)
    assert len(set(first.values())) == 3


def test_without_copies_the_photos_are_those_of_the_folder(photos, tmp_path):
    field = FieldPhotos(photos, tmp_path, copies=0)
    assert list(field) == ["bird.jpg"]
    assert field.table["weight"].tolist() == [1.0]
