"""The survey finds unreadable photos, and copies of the same photo."""

import io

import numpy as np
import pandas as pd
import pillow_heif
import pytest
from PIL import Image, ImageEnhance

from benchmarks.hostile_photos import lossless_webp
from birds import drawn, photo
from fieldmark.data.cache import build_cache
from fieldmark.data.datasets import list_photos
from fieldmark.data.duplicates import find_duplicates, group_photos
from fieldmark.data.loaders import make_dataloaders
from fieldmark.data.quality import remove_bad_photos
from fieldmark.data.splits import split_photos
from fieldmark.data.survey import survey_photos
from tests import trees
from tests.decoders import linux_only


def survey_files(folder, files: dict) -> pd.DataFrame:
    """Write files, given by name and bytes, and survey them."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    photos = pd.DataFrame({"path": list(files), "label": "wren", "split": "train"})
    return survey_photos(photos, folder).set_index("path", drop=False)


def list_pairs(survey) -> list:
    return find_duplicates(survey)[["first", "second"]].to_numpy().tolist()


def test_width_and_height_are_those_of_the_upright_photo(tmp_path):
    pixels = drawn.draw_bird("Night_Inkling", 1, 120, 80)
    files = {
        "plain.jpg": drawn.encode_photo(pixels),
        "rotated.jpg": drawn.encode_rotated(6, pixels),
    }
    survey = survey_files(tmp_path, files)
    assert survey[["width", "height"]].to_numpy().tolist() == [[120, 80]] * 2
    assert list_pairs(survey) == [list(files)]


def test_photos_that_the_function_cannot_read_have_its_message_as_their_problem(tmp_path):
    bird = trees.draw_photo("Night_Inkling", 1)
    files = {"cut.jpg": bird[:800], "text.jpg": b"a bird", "empty.jpg": b"", "good.jpg": bird}
    survey = survey_files(tmp_path, files)
    assert survey["problem"].notna().tolist() == [True, True, True, False]
    for name in ("cut.jpg", "text.jpg", "empty.jpg"):
        with pytest.raises(photo.PhotoError) as error:
            photo.prepare(files[name], 64)
        assert survey.loc[name, "problem"] == str(error.value)


@linux_only
def test_a_photo_that_costs_too_much_is_a_problem_and_the_survey_goes_on(tmp_path):
    files = {"bomb.webp": lossless_webp(), "bird.jpg": trees.draw_photo("Night_Inkling", 1)}
    problems = survey_files(tmp_path, files)["problem"]
    assert (problems["bomb.webp"], problems.isna()["bird.jpg"]) == (photo.NEEDS_MEMORY, True)


def test_a_missing_file_is_a_problem(tmp_path):
    survey = survey_photos(pd.DataFrame({"path": ["none.jpg"]}), tmp_path)
    assert "No such file" in survey["problem"][0]
    assert list_pairs(survey) == []


def test_every_awkward_photo_can_be_surveyed(tmp_path):
    survey = survey_files(tmp_path, drawn.awkward_photos())
    assert survey["problem"].isna().all()
    assert survey["hash"].notna().all()


def test_heic_photos_are_surveyed_cached_and_loaded_as_the_function_reads_them(tmp_path, settings):
    trees.make_class_folders(tmp_path, 5)
    heic = tmp_path / "Night_Inkling" / "phone.heic"
    image = Image.fromarray(drawn.draw_bird("Night_Inkling", 9, 120, 80))
    pillow_heif.from_pillow(image).save(heic)
    survey = survey_photos(list_photos(tmp_path), tmp_path)
    photos, problems = remove_bad_photos(survey)
    assert len(problems) == 0
    row = survey[survey["path"] == "Night_Inkling/phone.heic"].iloc[0]
    assert (row["width"], row["height"]) == (120, 80)
    photos = split_photos(photos)
    photos.loc[photos["path"] == "Night_Inkling/phone.heic", "split"] = "train"
    size = settings["size"]
    cache = build_cache(photos, survey, tmp_path, size, caches=tmp_path / "caches")
    cached = photos["path"][photos["split"] == "train"].tolist().index("Night_Inkling/phone.heic")
    assert cache.aspects[cached] == pytest.approx(1.5)
    dls = make_dataloaders(photos, tmp_path, **settings)
    (pixels,) = dls.test_dl([heic], rm_type_tfms=1, num_workers=0).one_batch()
    decoded = dls.valid.after_batch.decode((pixels,))[0][0].permute(1, 2, 0).numpy()
    expected = photo.prepare(heic.read_bytes(), size)
    assert np.abs(decoded - expected.astype(int)).max() <= 1


CHANGES = {
    "other quality": lambda image: image.copy(),
    "half its size": lambda image: image.resize((48, 48)),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.85),
    "grey": lambda image: image.convert("L"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_copy_of_a_photo_is_found(tmp_path, change):
    original = trees.draw_photo("Night_Inkling", 1)
    changed = drawn.encode_photo(change(Image.open(io.BytesIO(original))))
    files = {"a.jpg": original, "b.jpg": changed, "c.jpg": trees.draw_photo("Night_Inkling", 2)}
    files["d.jpg"] = trees.draw_photo("Rusty_Inkling", 1)
    assert list_pairs(survey_files(tmp_path, files)) == [["a.jpg", "b.jpg"]]


def test_different_birds_are_not_duplicates(folder):
    assert list_pairs(survey_photos(list_photos(folder), folder)) == []


def test_plain_pictures_are_duplicates_only_if_their_bytes_are_equal(tmp_path):
    shades = [drawn.encode_photo(np.full((64, 64, 3), shade, np.uint8)) for shade in (0, 128, 255)]
    files = {f"{n}.jpg": data for n, data in enumerate([*shades, shades[0]])}
    assert list_pairs(survey_files(tmp_path, files)) == [["0.jpg", "3.jpg"]]


def test_copies_are_paired_with_the_first_of_them(tmp_path):
    bird = trees.draw_photo("Night_Inkling", 1)
    survey = survey_files(tmp_path, dict.fromkeys(["a.jpg", "b.jpg", "c.jpg"], bird))
    pairs = [["a.jpg", "b.jpg", 0], ["a.jpg", "c.jpg", 0]]
    assert find_duplicates(survey).to_numpy().tolist() == pairs


@pytest.mark.parametrize("distance", [0, 1, 4, 9, 20])
def test_the_same_pairs_are_found_as_by_comparing_all(distance):
    rng = np.random.default_rng(distance)
    hashes = rng.integers(0, 256, (60, 32), np.uint8)
    bits = np.unpackbits(hashes[:30], axis=1)
    for row, flips in zip(bits, range(30), strict=True):
        row[rng.choice(256, flips, replace=False)] ^= 1
    hashes = np.concatenate([hashes, np.packbits(bits, axis=1)])
    names = [f"{n:02}" for n in range(len(hashes))]
    survey = pd.DataFrame(
        {"path": names, "sha256": names, "hash": [row.tobytes().hex() for row in hashes]}
    )
    distances = np.bitwise_count(hashes[:, None] ^ hashes).sum(axis=2)
    expected = np.argwhere(np.triu(distances <= distance, 1))
    pairs = find_duplicates(survey, distance)
    assert len(expected) == distance + 1
    assert sorted(zip(pairs["first"], pairs["second"], strict=True)) == [
        (names[a], names[b]) for a, b in expected
    ]


def test_a_chain_of_pairs_and_groups_is_one_group():
    photos = pd.DataFrame({"path": list("abcdef"), "group": [None, None, "x", "x", None, None]})
    pairs = pd.DataFrame({"first": ["a", "b"], "second": ["b", "c"]})
    assert group_photos(photos, pairs).tolist() == ["a", "a", "a", "a", "e", "f"]
