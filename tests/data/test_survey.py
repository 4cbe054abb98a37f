"""A photo is looked at before it teaches: what it is, and which other one it is."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageEnhance

from birds import drawn, photo
from fieldmark.data import datasets as sources
from fieldmark.data import duplicates
from fieldmark.data.survey import survey
from tests import trees


def surveyed(folder, files: dict) -> pd.DataFrame:
    """Survey some files, given by their name and bytes."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    table = pd.DataFrame({"path": list(files), "label": "wren", "split": "train"})
    return survey(table, folder).set_index("path", drop=False)


def bird(species="Night_Inkling", seed=1, **options) -> bytes:
    return drawn.encode_photo(drawn.draw_bird(species, seed), **options)


def altered(change) -> bytes:
    """Return a changed copy of the bird that `bird` draws."""
    return drawn.encode_photo(change(Image.open(io.BytesIO(bird()))))


def test_width_and_height_are_those_of_the_upright_photo(tmp_path):
    pixels = drawn.draw_bird("Night_Inkling", 1, 120, 80)
    files = {"plain.jpg": drawn.encode_photo(pixels), "turned.jpg": drawn.encode_rotated(6, pixels)}
    found = surveyed(tmp_path, files)
    assert found[["width", "height"]].to_numpy().tolist() == [[120, 80]] * 2
    assert duplicates.near(found)[["one", "other"]].to_numpy().tolist() == [list(files)]


def test_what_the_function_cannot_read_is_a_problem_and_no_crash(tmp_path):
    files = {"cut.jpg": bird()[:800], "text.jpg": b"a bird", "empty.jpg": b"", "good.jpg": bird()}
    found = surveyed(tmp_path, files)
    assert found["problem"].notna().tolist() == [True, True, True, False]
    for name in ("cut.jpg", "text.jpg", "empty.jpg"):
        with pytest.raises(photo.PhotoError) as error:
            photo.prepare(files[name], 64)
        assert found.loc[name, "problem"] == str(error.value)


def test_a_file_that_is_gone_is_a_problem_too(tmp_path):
    found = survey(pd.DataFrame({"path": ["none.jpg"]}), tmp_path)
    assert "No such file" in found["problem"][0]
    assert len(duplicates.near(found)) == 0


def test_every_awkward_photo_can_be_surveyed(tmp_path):
    found = surveyed(tmp_path, drawn.awkward_photos())
    assert found["problem"].isna().all()
    assert found["hash"].notna().all()


CHANGES = {
    "other quality": lambda image: image.copy(),
    "half its size": lambda image: image.resize((48, 48)),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.85),
    "grey": lambda image: image.convert("L"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_copy_of_a_photo_is_found(tmp_path, change):
    files = {"a.jpg": bird(), "b.jpg": altered(change), "c.jpg": bird(seed=2)}
    files["d.jpg"] = bird("Rusty_Inkling")
    found = duplicates.near(surveyed(tmp_path, files))
    assert found[["one", "other"]].to_numpy().tolist() == [["a.jpg", "b.jpg"]]


def test_other_birds_of_a_species_are_other_photos(tmp_path):
    table = sources.table(trees.birds_400(tmp_path, 8, 2, 3))
    assert len(duplicates.near(survey(table, tmp_path))) == 0


def test_plain_pictures_are_not_all_the_same(tmp_path):
    shades = [drawn.encode_photo(np.full((64, 64, 3), shade, np.uint8)) for shade in (0, 128, 255)]
    files = {f"{n}.jpg": data for n, data in enumerate([*shades, shades[0]])}
    found = duplicates.near(surveyed(tmp_path, files))
    assert found[["one", "other"]].to_numpy().tolist() == [["0.jpg", "3.jpg"]]


def test_copies_are_paired_with_the_first_of_them(tmp_path):
    found = duplicates.near(surveyed(tmp_path, dict.fromkeys(["a.jpg", "b.jpg", "c.jpg"], bird())))
    pairs = [["a.jpg", "b.jpg", 0], ["a.jpg", "c.jpg", 0]]
    assert found.to_numpy().tolist() == pairs


@pytest.mark.parametrize("distance", [0, 1, 4, 9, 20])
def test_every_pair_within_a_distance_is_found_as_if_all_were_compared(distance):
    chance = np.random.default_rng(distance)
    hashes = chance.integers(0, 256, (60, 32), np.uint8)
    bits = np.unpackbits(hashes[:30], axis=1)
    for row, flips in zip(bits, range(30), strict=True):
        row[chance.choice(256, flips, replace=False)] ^= 1
    hashes = np.concatenate([hashes, np.packbits(bits, axis=1)])
    names = [f"{n:02}" for n in range(len(hashes))]
    table = pd.DataFrame(
        {"path": names, "sha256": names, "hash": [h.tobytes().hex() for h in hashes]}
    )
    apart = np.bitwise_count(hashes[:, None] ^ hashes).sum(axis=2)
    expected = np.argwhere(np.triu(apart <= distance, 1))
    found = duplicates.near(table, distance)
    assert len(expected) == distance + 1
    assert sorted(zip(found["one"], found["other"], strict=True)) == [
        (names[a], names[b]) for a, b in expected
    ]


def test_what_is_paired_or_grouped_in_a_chain_is_together():
    photos = pd.DataFrame({"path": list("abcdef"), "group": [None, None, "x", "x", None, None]})
    pairs = pd.DataFrame({"one": ["a", "b"], "other": ["b", "c"]})
    assert duplicates.together(photos, pairs).tolist() == ["a", "a", "a", "a", "e", "f"]
