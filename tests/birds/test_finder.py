"""A finder's boxes are in pixels of the upright photo, whatever its size and format."""

from pathlib import Path

import numpy as np
import pytest

from birds import drawn, finder, photo
from birds.crops import overlap
from birds.finder import Finder, ModelError
from tests.birds.photos import encode_png
from tests.finders import TWO_BIRDS, draw_scene, write_finder
from tests.surgery import change_card, change_model


@pytest.fixture(scope="module")
def blobs(finder_file):
    return Finder(finder_file, threads=2)


def find(blobs, data: bytes) -> list:
    return blobs.find(photo.decode_upright(data, blobs.size, blobs.filter))


@pytest.mark.parametrize("kind", ["PNG", "JPEG of 12 megapixels", "taken sideways"])
def test_each_bird_gets_a_box(blobs, kind):
    scene = draw_scene(TWO_BIRDS)
    scale = 6 if "12" in kind else 1
    if scale > 1:
        data = drawn.encode_photo(scene.repeat(scale, 0).repeat(scale, 1), quality=85)
    else:
        data = encode_png(scene) if kind == "PNG" else drawn.encode_rotated(6, scene)
    boxes = find(blobs, data)
    assert [box.score for box in boxes] == sorted((box.score for box in boxes), reverse=True)
    for _, left, top, side in TWO_BIRDS:
        bird = [scale * value for value in (left, top, side, side)]
        assert max(overlap(box, bird) for box in boxes[:2]) > 0.6


def test_an_even_ground_has_no_bird(blobs):
    assert find(blobs, encode_png(draw_scene([]))) == []


def test_boxes_of_the_same_bird_are_merged_and_cut_at_the_photos_sides():
    decoded = photo.DecodedPhoto(np.zeros((1, 1, 3), np.uint8), 100, 80)
    box = np.array([[-5, 0, 20, 20], [-4, 1, 20, 21], [60, 60, 120, 90], [200, 0, 210, 9]])
    boxes = finder.select_boxes(np.array([0.8, 0.9, 0.7, 1]), box, 0.5, decoded)
    assert boxes == [(0, 1, 20, 20, 0.9), (60, 60, 40, 20, 0.7)]
    many = np.arange(400).reshape(100, 4)[:, [0, 0, 1, 1]] / 10 + [0, 0, 2, 2]
    assert finder.select_boxes(np.full(100, 0.1), many, 0.5, decoded) == []
    assert len(finder.select_boxes(np.full(100, 0.6), many, 0.5, decoded)) == 8


def test_it_looks_again_at_a_photo_without_a_clear_large_bird(finder_file, tmp_path):
    fine = {"size": 640, "score": 0.5, "share": 0.3}
    file = change_card(finder_file, tmp_path / "finder.onnx", replace_card(fine=fine))
    twice, once = Finder(file, 1), Finder(finder_file, 1)
    inputs, predict = [], twice.predict
    twice.predict = lambda pixels, single: inputs.append(pixels.shape) or predict(pixels, single)
    large = draw_scene([("Ruby_capped_Inkling", 250, 150, 220)])
    assert np.allclose(find(twice, encode_png(large)), find(once, encode_png(large)))
    small = draw_scene([("Ruby_capped_Inkling", 500, 60, 26)])
    box, *_ = find(twice, encode_png(small))
    assert overlap(box, (500, 60, 26, 26)) > 0.5
    assert inputs == [(1, 224, 320, 3), (1, 224, 320, 3), (1, 416, 640, 3)]


def test_one_thread_computes_the_same_boxes(blobs):
    decoded = photo.decode_upright(encode_png(draw_scene(TWO_BIRDS)), blobs.size, blobs.filter)
    one, many = blobs.find(decoded, single_thread=True), blobs.find(decoded)
    assert np.allclose(one, many, atol=1e-3)
    sessions = blobs.session, blobs.single_thread_session
    threads = [session.get_session_options().intra_op_num_threads for session in sessions]
    assert threads == [2, 1]


def replace_card(**entries):
    return lambda card: card.update(entries)


WRONG = {
    "kind": (replace_card(kind="species"), "not a finder"),
    "schema": (replace_card(schema=9), "schema 9"),
    "no version": (replace_card(version=None), "version"),
    "threshold": (replace_card(threshold="high"), "threshold"),
    "size": (replace_card(size=10**6), "size"),
    "threshold of 0": (replace_card(threshold=0), "threshold"),
    "fine": (replace_card(fine={"size": 512}), "fine"),
    "fine score": (replace_card(fine={"size": 512, "score": "high", "share": 0.4}), "fine"),
    "filter": (replace_card(preparation={"filter": "sharpest"}), "filter"),
    "score": (lambda card: card["drawn_photo"]["score"][0].__setitem__(0, 0.5), "score"),
    "box": (lambda card: card["drawn_photo"].pop("box"), "box"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_finder_whose_card_is_wrong_is_refused(finder_file, tmp_path, name):
    change, named = WRONG[name]
    path = change_card(finder_file, tmp_path / "finder.onnx", change)
    with pytest.raises(ModelError, match=named):
        Finder(path, 1)


def test_other_files_are_refused(finder_file, model, tmp_path):
    with pytest.raises(ModelError, match="not a finder"):
        Finder(model, 1)
    with pytest.raises(ModelError, match="does not exist"):
        Finder(tmp_path / "finder.onnx", 1)
    path = change_model(
        finder_file, tmp_path / "other.onnx", lambda proto: proto.graph.output.pop()
    )
    with pytest.raises(ModelError, match="not a finder"):
        Finder(path, 1)
    path.write_bytes(finder_file.read_bytes()[:-100])
    with pytest.raises(ModelError):
        Finder(path, 1)


def test_a_finder_has_the_sha_256_of_its_file(blobs, tmp_path):
    other = write_finder(tmp_path / "finder.onnx", version="2")
    assert Finder(other, 1).sha256 != blobs.sha256
    assert blobs.version == {"name": "blobs", "version": "1"}


@pytest.mark.parametrize("model", [".", "/"])
def test_a_folder_given_as_a_model_has_the_published_finder_or_none(model):
    found = finder.default_finder(Path(model))
    assert found in (None, finder.SHIPPED_FINDER)
