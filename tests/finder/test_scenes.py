"""Random scenes: deterministic, with boxes exactly where the birds are."""

import numpy as np
import pytest
import torch
from PIL import Image

from birds import drawn
from fieldmark.finder.dataset import TRAIN, VALID, SceneDataset
from fieldmark.finder.framing import cut_view, frame_photo, mirror_boxes, paste_distant
from fieldmark.finder.loaders import make_scene_loaders
from fieldmark.finder.scenes import Sources, make_scene

GREEN, RED = (0, 160, 0), (255, 0, 0)
BIRDS = [Image.fromarray(drawn.draw_bird(name, 1)) for name in drawn.SPECIES]
GROUND = Image.new("RGB", (160, 120), GREEN)
SOURCES = Sources(BIRDS, [GROUND])


def whole_photo() -> tuple[Image.Image, np.ndarray]:
    """Return a green photo with one red bird, and its box."""
    photo, box = GROUND.copy(), (30, 20, 70, 60)
    photo.paste(RED, box)
    return photo, np.array([box], float)


def is_red(scene: Image.Image) -> np.ndarray:
    pixels = np.asarray(scene).astype(int)
    return pixels[..., 0] - pixels[..., 1] > 100


@pytest.mark.parametrize("seed", range(12))
def test_a_framed_photo_has_boxes_around_its_birds_and_their_mirror_images(seed):
    scene, boxes = frame_photo(*whole_photo(), np.random.default_rng(seed), 128, 96)
    assert scene.size == (128, 96)
    red = is_red(scene)
    for left, top, right, bottom in np.round(boxes).astype(int):
        assert red[top + 1 : bottom - 1, left + 1 : right - 1].mean() > 0.9
        red[max(0, top - 1) : bottom + 1, max(0, left - 1) : right + 1] = False
    assert red.mean() < 0.15  # what is left is cut off by the border


@pytest.mark.parametrize("seed", range(6))
def test_a_distant_photo_lies_on_its_ground_with_its_boxes(seed):
    rng, ground = np.random.default_rng(seed), Image.new("RGB", (320, 240), (0, 0, 160))
    scene, boxes = paste_distant(*whole_photo(), rng, ground)
    red = is_red(scene)
    ((left, top, right, bottom),) = np.round(boxes).astype(int)
    assert red[top + 1 : bottom - 1, left + 1 : right - 1].mean() > 0.9
    red[top - 1 : bottom + 1, left - 1 : right + 1] = False
    assert not red.any()
    assert (np.asarray(scene) == (0, 0, 160)).all(2).mean() > 0.5


def test_mirror_images_of_a_box_lie_beside_the_photo():
    copies = mirror_boxes(np.array([[1, 2, 4, 8]]), 10, 20)
    assert len(copies) == 25
    assert {(1, 2, 4, 8), (16, 2, 19, 8), (-4, -8, -1, -2), (21, 42, 24, 48)} <= {
        *map(tuple, copies)
    }


def test_a_view_beyond_a_photo_shows_its_mirror_images():
    photo, _ = whole_photo()
    view = np.asarray(cut_view(photo, 1.0, -160, 0, 480, 120))
    assert np.array_equal(view[:, 160:320], np.asarray(photo))
    assert np.array_equal(view[:, :160], view[:, 160:320][:, ::-1])
    assert np.array_equal(view[:, 320:], view[:, :160])


def test_pasted_birds_are_inside_their_boxes_and_the_ground_is_outside():
    red = Sources([Image.new("RGB", (40, 40), RED)], [GROUND])
    for seed in range(20):
        scene, boxes = make_scene(red, np.random.default_rng(seed), 128, 96)
        if len(np.unique(np.asarray(scene).reshape(-1, 3), axis=0)) < 3:
            continue
        outside = np.ones((96, 128), bool)
        for left, top, right, bottom in boxes.astype(int):
            outside[max(0, top - 4) : bottom + 4, max(0, left - 4) : right + 4] = False
        assert is_red(scene)[outside].mean() < 0.05 if outside.any() else True


def test_a_scene_depends_on_seed_and_number_only():
    dataset = SceneDataset(SOURCES, 128, 4, seed=3, part=TRAIN)
    pixels, boxes = dataset.scene(5)
    again = SceneDataset(SOURCES, 128, 4, seed=3, part=TRAIN)
    again.scene(9)
    assert np.array_equal(pixels, again.scene(5)[0])
    assert np.array_equal(boxes, again.scene(5)[1])
    others = [dataset.scene(6), SceneDataset(SOURCES, 128, 4, 4, TRAIN).scene(5)]
    others.append(SceneDataset(SOURCES, 128, 4, 3, VALID).scene(5))
    assert not any(np.array_equal(pixels, other) for other, _ in others)


def test_every_batch_has_one_shape_and_each_epoch_has_new_scenes():
    dls = make_scene_loaders(SOURCES, SOURCES, 128, 14, 4, batch_size=4, num_workers=0)
    first, second = list(dls.train), list(dls.train)
    assert len(first) == len(second) == 4
    shapes = {tuple(pixels.shape) for pixels, _ in first + second}
    sizes = ((96, 128), (128, 96), (128, 128), (96, 96))  # four fifths of 128 is 96
    assert shapes == {(4, h, w, 3) for h, w in sizes}
    assert {pixels.shape[1:3] for pixels, _ in dls.valid} == {(96, 128)}
    assert not torch.equal(first[0][0], second[0][0])
    assert torch.equal(next(iter(dls.valid))[0], next(iter(dls.valid))[0])


def test_worker_processes_make_the_same_scenes():
    alone, shared = (
        make_scene_loaders(SOURCES, SOURCES, 96, 8, 4, batch_size=4, num_workers=workers)
        for workers in (0, 2)
    )
    for (pixels, target), (others, other_target) in zip(alone.train, shared.train, strict=True):
        assert torch.equal(pixels, others)
        assert torch.equal(target, other_target)
