"""The finder's network, its targets and its loss."""

import numpy as np
import pytest
import timm
import torch
from timm.layers.conv2d_same import Conv2dSame

from birds import finder
from birds.photo import DecodedPhoto
from fieldmark.errors import NetworkError
from fieldmark.finder.boxes import score_boxes, select_boxes
from fieldmark.finder.detector import STRIDE, Detector
from fieldmark.finder.loss import box_loss, detection_loss
from fieldmark.finder.same_padding import fix_same_padding
from fieldmark.finder.targets import make_target
from tests.conftest import ARCH

BIRDS = np.array([[10, 20, 90, 70], [100, 30, 124, 50], [16, 52, 40, 68]], float)


def perfect_outputs(boxes: np.ndarray, height: int, width: int) -> torch.Tensor:
    """Return the outputs [1, 5, h, w] of a network that has learned its target by heart."""
    target = torch.from_numpy(make_target(boxes, height, width))
    x = (torch.arange(width // STRIDE) + 0.5) * STRIDE
    y = (torch.arange(height // STRIDE)[:, None] + 0.5) * STRIDE
    left, top, right, bottom = target[1:5]
    distances = torch.stack([x - left, y - top, right - x, bottom - y]) / STRIDE
    logits = torch.logit(target[:1].clamp(0.001, 0.999))
    return torch.cat([logits, distances.clamp(min=1e-3).log()])[None]


@pytest.mark.parametrize("size", [(96, 128), (160, 96)])
def test_a_network_returns_a_score_and_a_box_for_every_position(size):
    detector = Detector(ARCH).eval()
    photos = torch.randint(256, (2, *size, 3), dtype=torch.uint8)
    with torch.no_grad():
        outputs = detector(photos)
        assert torch.allclose(outputs[1:], detector(photos[1:]), atol=1e-5)
    assert outputs.shape == (2, 5, size[0] // STRIDE, size[1] // STRIDE)
    score, box = score_boxes(outputs)
    assert (score.shape, box.shape) == (outputs[:, 0].shape, (*outputs[:, 0].shape, 4))
    assert score.max() < 0.5  # nothing is found before training


def test_a_network_without_the_feature_maps_is_refused_by_name():
    with pytest.raises(NetworkError, match=r"`test_vit` has no feature maps"):
        Detector("test_vit")


def test_the_batch_norms_of_a_pretrained_backbone_stay_as_they_are(weights):
    detector = Detector(ARCH, str(weights)).train()
    photos = torch.randint(256, (2, 96, 96, 3), dtype=torch.uint8)
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    detector(photos)
    after = detector.state_dict()
    changed = {name.split(".")[0] for name in after if not torch.equal(before[name], after[name])}
    assert changed == {"merges", "tower"}


def test_the_boxes_of_a_perfect_network_are_the_birds_best_first_and_each_once():
    outputs = perfect_outputs(BIRDS, 96, 128)
    score, box = (values[0] for values in score_boxes(outputs))
    boxes, scores = select_boxes(score, box, (128, 96))
    found = {tuple(np.round(row)) for row in boxes[:3].numpy()}
    assert found == {tuple(row) for row in BIRDS}
    assert (scores.diff() <= 0).all()
    assert scores[2] > 0.99
    assert len(scores) == 3 or scores[3] < 0.9


def test_boxes_are_selected_as_by_the_function():
    rng = np.random.default_rng(0)
    for longest in (2, 30):
        low = rng.uniform(-5, 40, (500, 2))
        box = np.concatenate([low, low + rng.uniform(0, longest, (500, 2))], 1).astype(np.float32)
        box[7], score = np.nan, rng.random(500, np.float32)
        boxes, scores = select_boxes(torch.from_numpy(score), torch.from_numpy(box), (40, 30), 0.9)
        photo = DecodedPhoto(np.zeros((30, 40, 3), np.uint8), 40, 30)
        expected = finder.select_boxes(score, box, 0.9, photo)
        found = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2], scores[:, None]], 1)
        assert np.allclose(found, expected, atol=1e-5)


def test_the_loss_of_a_perfect_network_is_small_and_a_moved_box_costs():
    target = torch.from_numpy(make_target(BIRDS, 96, 128))[None]
    perfect = perfect_outputs(BIRDS, 96, 128)
    assert box_loss(perfect, target) < 1e-3
    moved = perfect.clone()
    moved[:, 1:] += 0.3
    assert detection_loss(moved, target) > detection_loss(perfect, target) + 0.3
    empty = torch.from_numpy(make_target(np.zeros((0, 4)), 96, 128))[None]
    for each in (target, empty):
        outputs = perfect.clone().requires_grad_()
        detection_loss(outputs, each).backward()
        assert outputs.grad.isfinite().all()


def test_where_birds_overlap_positions_learn_the_smaller_one():
    target = make_target(BIRDS, 96, 128)
    middle = BIRDS[2].reshape(2, 2).mean(0) // STRIDE
    column, row = middle.astype(int)
    assert target[1:5, row, column].tolist() == BIRDS[2].tolist()
    assert (target[0] >= 1).sum() == 3


def test_constant_padding_computes_what_timm_pads_for_each_photo():
    model = timm.create_model("mobilenetv2_050", pad_type="same", num_classes=0).eval()
    photos = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = model.forward_features(photos)
        assert torch.equal(fix_same_padding(model).forward_features(photos), expected)
    assert not [module for module in model.modules() if isinstance(module, Conv2dSame)]
