"""A run of `fieldmark train-finder`: what it finds, and a gate that catches every planted fault."""

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
from export.publish import publish
from fieldmark.errors import GateError, RunError, WeightsError
from fieldmark.files import read_json
from fieldmark.finder.boxes import MIN_SCORE, FinderGraph
from fieldmark.finder.dataset import VALID, SceneDataset
from fieldmark.finder.detector import Detector
from fieldmark.finder.evaluation import (
    choose_threshold,
    compute_metrics,
    detect,
    find_by_file,
)
from fieldmark.finder.finder_run import build_detector, create_detector, save_weights
from fieldmark.finder.sources import load_sources
from fieldmark.recipe import FinderRecipe
from fieldmark.run_folder import read_weights_card

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scenes(finder_run):
    """Return the held-out scenes of the run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(finder_run.folder.parents[1])
        sources = load_sources(finder_run.recipe, finder_run.read_boxes(), VALID)
    return SceneDataset(sources, finder_run.recipe.fine_size, 8, 1, VALID)


@pytest.fixture(scope="module")
def photos(scenes):
    photos = held_out_photos(scenes, 0, 20) | awkward_photos()
    del photos["12 megapixels"]  # which takes as long as all others
    return photos


@pytest.fixture
def finder(finder_run):
    return Finder(finder_run.model_file)


@pytest.fixture
def network(finder_run):
    """Rebuild the network from the weights beside the file."""
    detector = build_detector(finder_run.recipe)
    detector.load_state_dict(load_file(finder_run.weights_file))
    return detector.eval()


def compute_with(finder: Finder, detector: Detector, flip=False) -> None:
    """Let a finder compute its outputs by a network instead of its file."""

    @torch.no_grad()
    def predict(pixels, single_thread=False):
        photos = torch.from_numpy((pixels[..., ::-1] if flip else pixels).copy())
        return tuple(output.numpy() for output in FinderGraph(detector)(photos))

    finder.predict = predict


def test_a_finder_finds_drawn_birds_on_drawn_grounds(finder, scenes):
    finder.threshold = MIN_SCORE
    detections = detect(find_by_file(finder), scenes, range(1000, 1150))
    threshold = choose_threshold(detections.birds, 0.95)
    metrics = compute_metrics(detections, threshold)
    assert metrics["found_large"]["value"] >= 0.85
    assert metrics["first_box"]["value"] >= 0.7
    assert metrics["mean_iou"]["value"] >= 0.6


def test_a_second_look_finds_more_small_birds(finder, scenes):
    twice = detect(find_by_file(finder), scenes, range(1000, 1150)).birds
    finder.fine = None
    once = detect(find_by_file(finder), scenes, range(1000, 1150)).birds
    small = once["share"] < 0.35
    assert twice["iou"][small].mean() > once["iou"][small].mean() + 0.02
    assert twice["iou"][~small].mean() > once["iou"][~small].mean() - 0.02


def test_the_kept_epoch_is_the_one_with_the_highest_overlap(finder_run, finder):
    history = finder_run.history
    kept = history[history["kept"]]
    assert kept["mean_iou"].item() == history["mean_iou"].max()
    assert finder.card["training"]["kept_epoch"] == kept["epoch"].item()
    assert np.isfinite(history["train_loss"]).all()


def test_training_starts_from_the_weights_of_another_finder(finder_run, network):
    start = create_detector(FinderRecipe(weights=str(finder_run.weights_file)))
    assert torch.equal(start.output.weight, network.output.weight)
    assert start.freezes_batch_norm
    with pytest.raises(WeightsError, match="a finder of arch `test_efficientnet` and width 32"):
        create_detector(FinderRecipe(weights=str(finder_run.weights_file), width=16))


def test_the_notebook_shows_scenes_training_and_what_is_found(finder_run):
    assert {file.stem for file in finder_run.figures.iterdir()} == {"scenes", "training", "found"}
    notebook = finder_run.notebook_file.read_text()
    assert "The file passed the gate" in notebook
    assert notebook.count("image/png") == 3


def test_a_finder_is_published_beside_the_species_model(finder_run, tmp_path):
    finder = Finder(finder_run.model_file)
    outdated, kept = tmp_path / "finder.pt2", tmp_path / "birds.pt2"
    outdated.touch()
    kept.touch()
    assert publish(finder_run.folder, tmp_path) == " ".join(finder.version.values())
    assert Finder(tmp_path / "finder.onnx").sha256 == finder.sha256
    assert kept.is_file()
    assert not outdated.exists()
    network = build_detector(finder_run.recipe)
    save_weights(network, tmp_path / "finder.safetensors", "fp16", finder.card | {"version": "1"})
    with pytest.raises(RunError, match="are not of one run"):
        publish(tmp_path, tmp_path / "elsewhere")


def test_the_file_passes_its_gate_and_says_so_in_its_card(finder_run, finder, network, photos):
    report, gate = check_gate(finder, network, photos)
    assert report["passed"].all()
    assert gate["boxes"] > 20
    assert finder.card["gate"]["photos"] == 68
    assert finder.card["metrics"] == read_json(finder_run.metrics_file)
    assert finder.card["licence"]
    assert finder.card["photos"]["photos"] == {"train": 192, "valid": 48}
    assert finder.card == read_weights_card(finder_run.weights_file)


def test_a_card_without_a_second_look_passes_with_one_look(finder, network, photos):
    del finder.card["fine"]
    finder.fine = None
    report, _ = check_gate(finder, network, photos)
    assert set(report["looks"]) == {1}


def test_the_file_takes_photos_of_any_multiple_of_32_pixels(finder, network):
    for shape in ((1, 96, 96), (2, 128, 96), (3, 160, 224)):
        pixels = np.random.default_rng(0).integers(256, size=(*shape, 3)).astype(np.uint8)
        with torch.no_grad():
            expected = FinderGraph(network)(torch.from_numpy(pixels))
        for output, values in zip(finder.predict(pixels), expected, strict=True):
            assert np.allclose(output, values.numpy(), atol=1e-3)


def test_the_weights_are_stored_in_half_precision_and_computed_in_single(finder_run, finder):
    graph = onnx.load(finder_run.model_file).graph
    large = [t.data_type for t in graph.initializer if np.prod(t.dims) >= 1024]
    assert set(large) == {onnx.TensorProto.FLOAT16}
    assert sum(node.op_type == "Cast" for node in graph.node) >= len(large)
    assert finder_run.model_file.stat().st_size < finder_run.best_file.stat().st_size * 0.75


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


def coarse_twice(monkeypatch, finder, network):
    finder.fine = finder.fine._replace(size=128)


def never_looks_again(monkeypatch, finder, network):
    finder.fine = None


def second_look_mirrored(monkeypatch, finder, network):
    pixels = finder.fine_pixels
    finder.fine_pixels = lambda decoded, size: pixels(decoded, size)[:, ::-1]


def wrong_scale(monkeypatch, finder, network):
    find = finder.find
    finder.find = lambda decoded: [box._replace(width=box.width * 1.03) for box in find(decoded)]


@pytest.mark.parametrize(
    "fault",
    [
        *(other_rounding, bgr_input, bgr_graph, no_normalisation, stride_off_by_one),
        *(threshold_ignored, no_suppression, no_orientation, wrong_scale),
        *(coarse_twice, never_looks_again, second_look_mirrored),
    ],
    ids=lambda fault: fault.__name__,
)
def test_the_gate_catches_a_planted_fault(fault, monkeypatch, finder, network, photos):
    fault(monkeypatch, finder, network)
    with pytest.raises(GateError) as caught:
        check_gate(finder, network, photos)
    assert not caught.value.report["passed"].all()


def test_a_file_that_fails_leaves_the_report_and_the_earlier_files(finder_run, monkeypatch):
    monkeypatch.chdir(finder_run.folder.parents[1])
    before = finder_run.model_file.read_bytes()
    monkeypatch.setattr(birds.finder, "SAME_BIRD", 1.01)
    monkeypatch.setattr("export.finder.evaluate", lambda *args: (0.3, {}))
    graph = onnx.load(finder_run.model_file)  # to export it takes longer
    monkeypatch.setattr("export.finder.export_graph", lambda detector: graph)
    with pytest.raises(GateError, match="finds other boxes than its network"):
        export_finder(finder_run.folder)
    assert finder_run.model_file.read_bytes() == before
    assert "False" in finder_run.gate_report_file.read_text()


def test_boxes_near_the_threshold_may_be_found_by_one_side_only():
    boxes = np.array([[0, 0, 10, 10, 0.9], [20, 20, 30, 30, 0.3004], [40, 0, 50, 9, 0.2995]])
    assert match(boxes[:1], boxes, certain=0.301) == (1.0, 0.0)
    assert match(boxes[:1], boxes, certain=0.3)[0] == 0
    assert match(boxes[:2], boxes[:1], certain=0.301)[0] == 0
    assert match(boxes[[0, 0]], boxes, certain=0.301)[0] < 0.5
