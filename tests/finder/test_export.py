"""A finder's file finds the boxes of its network, and its gate catches every planted fault."""

import copy

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file

import birds.finder
import birds.photo
from birds.drawn import awkward_photos
from birds.finder import Finder
from export.finder import export_finder
from export.finder_gate import check_gate, match
from export.finder_input import held_out_photos
from fieldmark.errors import GateError
from fieldmark.files import read_json
from fieldmark.finder.boxes import FinderGraph
from fieldmark.finder.dataset import VALID, SceneDataset
from fieldmark.finder.detector import Detector
from fieldmark.finder.finder_run import FinderRun, build_detector
from fieldmark.finder.sources import load_sources
from fieldmark.run_folder import read_weights_card

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exported(finder_folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(finder_folder.parent)
        export_finder(finder_folder)
    return FinderRun(finder_folder)


@pytest.fixture(scope="module")
def photos(exported):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(exported.folder.parent)
        sources = load_sources(exported.recipe, exported.read_boxes(), VALID)
    scenes = SceneDataset(sources, exported.recipe.size, 8, 0, VALID)
    return held_out_photos(scenes, 0, 40) | awkward_photos()


@pytest.fixture
def finder(exported):
    return Finder(exported.model_file)


@pytest.fixture
def network(exported):
    """Rebuild the network from the weights beside the file."""
    detector = build_detector(exported.recipe)
    detector.load_state_dict(load_file(exported.weights_file))
    return detector.eval()


def compute_with(finder: Finder, detector: Detector, flip=False) -> None:
    """Let a finder compute its outputs by a network instead of its file."""

    @torch.no_grad()
    def predict(pixels, single_thread=False):
        photos = torch.from_numpy((pixels[..., ::-1] if flip else pixels).copy())
        return tuple(output.numpy() for output in FinderGraph(detector)(photos))

    finder.predict = predict


def test_the_file_passes_its_gate_and_says_so_in_its_card(exported, finder, network, photos):
    report, gate = check_gate(finder, network, photos)
    assert report["passed"].all()
    assert gate["boxes"] > 20
    assert finder.card["gate"]["photos"] == 68
    assert finder.card["metrics"] == read_json(exported.metrics_file)
    assert finder.card["licence"]
    assert finder.card["photos"]["photos"] == {"train": 192, "valid": 48}
    assert finder.card == read_weights_card(exported.weights_file)


def test_the_file_takes_photos_of_any_multiple_of_32_pixels(finder, network):
    for shape in ((1, 96, 96), (2, 128, 96), (3, 160, 224)):
        pixels = np.random.default_rng(0).integers(256, size=(*shape, 3)).astype(np.uint8)
        with torch.no_grad():
            expected = FinderGraph(network)(torch.from_numpy(pixels))
        for output, values in zip(finder.predict(pixels), expected, strict=True):
            assert np.allclose(output, values.numpy(), atol=1e-3)


def test_the_weights_are_stored_in_half_precision_and_computed_in_single(exported, finder):
    graph = onnx.load(exported.model_file).graph
    large = [t.data_type for t in graph.initializer if np.prod(t.dims) >= 1024]
    assert set(large) == {onnx.TensorProto.FLOAT16}
    assert sum(node.op_type == "Cast" for node in graph.node) >= len(large)
    assert exported.model_file.stat().st_size < exported.best_file.stat().st_size * 0.75


def other_rounding(monkeypatch, finder, network):
    monkeypatch.setattr(birds.photo, "FINDER_STRIDE", 64)


def bgr_input(monkeypatch, finder, network):
    prepare = birds.photo.finder_input
    monkeypatch.setattr(birds.photo, "finder_input", lambda *args: prepare(*args)[..., ::-1].copy())


def bgr_graph(monkeypatch, finder, network):
    compute_with(finder, network, flip=True)


def no_normalisation(monkeypatch, finder, network):
    other = copy.deepcopy(network)
    other.pixel_mean.zero_()
    other.pixel_std.fill_(1)
    compute_with(finder, other)


def stride_off_by_one(monkeypatch, finder, network):
    predict = finder.predict

    def moved(pixels, single_thread=False):
        score, box = predict(pixels)
        return score, np.roll(box, 1, axis=2)

    finder.predict = moved


def threshold_ignored(monkeypatch, finder, network):
    finder.threshold = 0.02


def no_suppression(monkeypatch, finder, network):
    monkeypatch.setattr(birds.finder, "SAME_BIRD", 1.01)


def no_orientation(monkeypatch, finder, network):
    monkeypatch.setattr(birds.photo, "read_orientation", lambda image: 1)


def wrong_scale(monkeypatch, finder, network):
    find = finder.find
    finder.find = lambda decoded: [box._replace(width=box.width * 1.03) for box in find(decoded)]


@pytest.mark.parametrize(
    "fault",
    [
        *(other_rounding, bgr_input, bgr_graph, no_normalisation, stride_off_by_one),
        *(threshold_ignored, no_suppression, no_orientation, wrong_scale),
    ],
    ids=lambda fault: fault.__name__,
)
def test_the_gate_catches_a_planted_fault(fault, monkeypatch, finder, network, photos):
    fault(monkeypatch, finder, network)
    with pytest.raises(GateError) as caught:
        check_gate(finder, network, photos)
    assert not caught.value.report["passed"].all()


def test_a_file_that_fails_leaves_the_report_and_the_earlier_files(exported, monkeypatch):
    monkeypatch.chdir(exported.folder.parent)
    before = exported.model_file.read_bytes()
    monkeypatch.setattr(birds.finder, "SAME_BIRD", 1.01)
    with pytest.raises(GateError, match="finds other boxes than its network"):
        export_finder(exported.folder)
    assert exported.model_file.read_bytes() == before
    assert "False" in exported.gate_report_file.read_text()


def test_boxes_near_the_threshold_may_be_found_by_one_side_only():
    boxes = np.array([[0, 0, 10, 10, 0.9], [20, 20, 30, 30, 0.3004], [40, 0, 50, 9, 0.2995]])
    assert match(boxes[:1], boxes, certain=0.301) == (1.0, 0.0)
    assert match(boxes[:1], boxes, certain=0.3)[0] == 0
    assert match(boxes[:2], boxes[:1], certain=0.301)[0] == 0
    assert match(boxes[[0, 0]], boxes, certain=0.301)[0] < 0.5
