"""Whole photos are cropped where the function would look, once, and what was found is listed."""

import numpy as np
import pytest
from PIL import Image

from birds import drawn, photo
from birds.classifier import ModelError
from birds.crops import MARGIN, propose_crops
from birds.finder import Finder
from fieldmark.data import found_birds
from fieldmark.data.crops import BOX
from fieldmark.data.datasets import list_photos, load_dataset
from fieldmark.data.found_birds import (
    crop_to_birds,
    load_finder,
    read_crops,
    summarize_crops,
)
from fieldmark.evaluation.galleries import show_crops
from tests import trees
from tests.finders import draw_scene, write_finder

PLACE = 60, 300, 120  # left, top and side of the bird in a photo of 720 x 480 pixels


@pytest.fixture(scope="module")
def finder(tmp_path_factory):
    return Finder(write_finder(tmp_path_factory.mktemp("finder") / "finder.onnx"))


@pytest.fixture
def whole(tmp_path):
    """Write whole photos of two species: one with a bird in a corner, one empty, one broken."""
    folder = tmp_path / "whole"
    scenes = {
        "Night_Inkling/bird.jpg": draw_scene([("Night_Inkling", *PLACE)]),
        "Night_Inkling/NA.jpg": draw_scene([]),
        "Rusty_Inkling/bird.jpg": draw_scene([("Rusty_Inkling", 500, 40, 160)]),
    }
    for path, scene in scenes.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(drawn.encode_photo(scene, quality=95))
    (folder / "Rusty_Inkling" / "broken.jpg").write_bytes(b"half a bird")
    return folder


def test_a_crop_is_the_square_that_the_function_looks_at_first(whole, finder, tmp_path):
    photos = list_photos(whole)
    out, cropped = crop_to_birds(photos, whole, finder, tmp_path / "crops")
    assert cropped.equals(photos)
    crops = read_crops(out).set_index("path")
    for path in ("Night_Inkling/bird.jpg", "Rusty_Inkling/bird.jpg"):
        data = (whole / path).read_bytes()
        decoded = photo.decode_upright(data, finder.size, finder.filter)
        first = propose_crops(finder.find(decoded), 720, 480)[0]
        row = crops.loc[path]
        assert row["source"] == first.source == "finder"
        assert list(row[["crop_left", "crop_top", "crop_side"]]) == list(first[:3])
        assert row["crop_side"] == round(MARGIN * max(row["found_width"], row["found_height"]))
        served = photo.crop_photo(decoded, first.square, 64).pixels.astype(int)
        taught = photo.prepare((out / path).read_bytes(), 64).astype(int)
        assert np.abs(served - taught).mean() < 3  # a JPEG in between
    left, top, side = PLACE
    row = crops.loc["Night_Inkling/bird.jpg"]
    assert row["crop_left"] - side < left < row["crop_left"] + row["crop_side"]
    assert row["crop_top"] - side < top < row["crop_top"] + row["crop_side"]


def test_photos_without_a_bird_keep_their_middle_and_broken_ones_are_copied(
    whole, finder, tmp_path
):
    out, _ = crop_to_birds(list_photos(whole), whole, finder, tmp_path / "crops")
    crops = read_crops(out).set_index("path")
    empty = crops.loc["Night_Inkling/NA.jpg"]
    assert (empty["source"], empty["birds"]) == ("center", 0)
    assert list(empty[["crop_left", "crop_top", "crop_side"]]) == [120, 0, 480]
    assert (out / "Rusty_Inkling/broken.jpg").read_bytes() == b"half a bird"
    summary = summarize_crops(read_crops(out))
    assert (summary["not_found"], summary["unreadable"]) == (1, 1)
    assert (summary["found"]["value"], summary["found"]["n"]) == (pytest.approx(2 / 3, abs=1e-3), 3)
    assert "mean_iou" not in summary
    titles = [axes.get_title() for axes in show_crops(read_crops(out), whole).axes]
    assert len(titles) == 3
    assert sum("none found" in title for title in titles) == 1


def test_a_second_call_reuses_crops_and_an_interrupted_one_is_completed(
    whole, finder, tmp_path, monkeypatch
):
    photos, crops = list_photos(whole), tmp_path / "crops"
    out, _ = crop_to_birds(photos, whole, finder, crops)
    before = read_crops(out)
    kept, lost = (out / path for path in photos["path"][:2])
    kept.write_bytes(b"kept")
    lost.unlink()
    assert crop_to_birds(photos, whole, finder, crops)[0] == out
    assert kept.read_bytes() == b"kept"
    assert lost.is_file()
    after = read_crops(out)
    assert after.sort_values("path", ignore_index=True).equals(
        before.sort_values("path", ignore_index=True)
    )
    monkeypatch.setattr(finder, "sha256", "of another finder")
    assert crop_to_birds(photos, whole, finder, crops)[0] != out
    monkeypatch.undo()
    file = whole / "Night_Inkling/bird.jpg"
    file.write_bytes(file.read_bytes() + b" ")
    assert crop_to_birds(photos, whole, finder, crops)[0] != out


def test_boxes_of_the_data_set_are_compared_with_what_is_found(finder, tmp_path):
    cub = trees.make_cub(tmp_path / "cub", 1, 0)
    photos = list_photos(cub)
    for number, path in enumerate(photos["path"]):
        scene = [] if number == 0 else [("Night_Inkling", *PLACE)]
        (cub / path).write_bytes(drawn.encode_photo(draw_scene(scene), quality=95))
    rotated = Image.fromarray(draw_scene([("Night_Inkling", *PLACE)]))
    exif = Image.Exif()
    exif[0x0112] = 3
    rotated.save(cub / photos["path"][1], exif=exif)
    out, cropped = crop_to_birds(photos, cub, finder, tmp_path / "crops")
    assert not set(BOX) & set(cropped.columns)
    found = read_crops(out).set_index("path").loc[photos["path"][2]]
    photos[BOX] = found[["found_left", "found_top", "found_width", "found_height"]].to_list()
    photos.loc[3, "box_width"] /= 4
    again, _ = crop_to_birds(photos, cub, finder, tmp_path / "again")
    iou = read_crops(again)["iou"].tolist()
    assert iou[0] == 0  # not found
    assert np.isnan(iou[1])  # turned by its EXIF
    assert iou[2:] == pytest.approx([1, 0.25, 1, 1], abs=1e-6)
    summary = summarize_crops(read_crops(again))
    assert summary["overlapping"]["value"] == pytest.approx(3 / 5)
    assert summary["mean_iou"]["value"] == pytest.approx(3.25 / 5)


def test_a_recipe_asks_for_it_and_the_environment_names_the_finder(
    whole, finder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(found_birds, "SHIPPED_FINDER", tmp_path / "none.onnx")
    with pytest.raises(ModelError, match=r"none\.onnx"):
        load_dataset("whole", crop="auto")
    monkeypatch.setenv("FIELDMARK_FINDER", str(write_finder(tmp_path / "mine.onnx", name="mine")))
    out, _ = load_dataset("whole", crop="auto")
    assert out.resolve().is_relative_to(tmp_path / "runs" / "crops")
    assert load_finder().card["name"] == "mine"
    assert read_crops(load_dataset("whole")[0]).empty
