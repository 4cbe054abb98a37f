"""Attribution methods against closed forms, completeness, torch-cam, and planted evidence."""

import dataclasses

import nbformat
import numpy as np
import pytest
import torch
from captum.attr import DeepLift
from scipy.stats import spearmanr
from torch import nn

from fieldmark.explain.attribution import plots
from fieldmark.explain.attribution.deep_lift import RescaledDeepLift
from fieldmark.explain.attribution.guided import GuidedActivations
from fieldmark.explain.attribution.methods import (
    CLASS_MAP,
    METHODS,
    RANDOM,
    attribute,
    compute_residual,
)
from fieldmark.explain.attribution.removal import rank_cells, remove_and_insert, score_removal
from fieldmark.explain.attribution.scores import (
    correlate_ranks,
    sample_photos,
    score_methods,
    summarize,
    tabulate_scores,
)
from fieldmark.explain.attribution.torchcam_check import compare_with_torchcam
from fieldmark.explain.attribution.viewer import AttributionViewer
from fieldmark.explain.class_maps import compute_class_maps
from fieldmark.explain.label_logits import LabelLogits
from fieldmark.explain.page import write_page
from fieldmark.network.network import Network
from fieldmark.network.preparation import Preparation
from tests import networks  # noqa: F401 registers small networks


class Linear(nn.Module):
    """Logits of two labels that are weighted sums of pixels."""

    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def forward(self, photos):
        score = (photos * self.weight).sum((1, 2, 3))
        return torch.stack([score, -score], 1)


@pytest.fixture(scope="module")
def logits(explained):
    return LabelLogits(explained.network)


@pytest.fixture(scope="module")
def photos(explained):
    return explained.network.preparation.normalize(explained.prepare(explained.held_out.paths[:2]))


@pytest.fixture(scope="module")
def targets(explained):
    return torch.from_numpy(explained.held_out.predicted[:2])


@pytest.fixture(scope="module")
def scores(explained):
    return score_methods(explained, sample_photos(explained.held_out, 3))


def test_methods_find_the_weights_of_a_linear_network():
    generator = torch.Generator().manual_seed(0)
    weight, photo = (torch.randn(1, 3, 28, 28, generator=generator) for _ in range(2))
    exact = (weight * photo).sum(1).numpy()
    target = torch.tensor([0])
    for name in ("integrated gradients", "DeepLift"):
        np.testing.assert_allclose(attribute(name, Linear(weight), photo, target), exact, atol=1e-4)
    patches = attribute("Shapley values", Linear(weight), photo, target)
    sums = exact.reshape(7, 4, 7, 4).sum((1, 3))
    np.testing.assert_allclose(patches.reshape(7, 4, 7, 4).sum((1, 3)), sums, atol=1e-3)
    occluded = attribute("occlusion", Linear(weight), photo, target)  # patches of 4, in steps of 2
    np.testing.assert_allclose(occluded[0, 0, 0], sums[0, 0], atol=1e-3)


@pytest.mark.parametrize("activation", [nn.SiLU, nn.GELU, nn.Hardswish, nn.Sigmoid, nn.ReLU6])
def test_deep_lift_multiplies_by_the_slope_of_an_activation(activation):
    model = nn.Sequential(activation(), nn.Flatten(), nn.Linear(8, 2))
    photo, baseline = torch.linspace(-3, 3, 8)[None].requires_grad_(), torch.full((1, 8), 0.3)
    with pytest.warns(UserWarning, match="hooks"):
        lifted = RescaledDeepLift(model).attribute(photo, baseline, target=1)
    change = activation()(photo) - activation()(baseline)
    torch.testing.assert_close(lifted, change * model[2].weight[1])


def test_captum_calls_the_private_methods_that_deep_lift_overrides(monkeypatch):
    called = []
    for name in ("_is_non_linear", "_construct_forward_func"):
        method = vars(RescaledDeepLift)[name]

        def record(self, *args, name=name, method=method, **options):
            called.append(name)
            return method(self, *args, **options)

        monkeypatch.setattr(RescaledDeepLift, name, record)
    photo = torch.ones(1, 4, requires_grad=True)
    with pytest.warns(UserWarning, match="hooks"):
        RescaledDeepLift(nn.Sequential(nn.ReLU(), nn.Linear(4, 2))).attribute(photo, target=1)
    assert set(called) == {"_is_non_linear", "_construct_forward_func"}


@pytest.mark.parametrize("arch", ["test_efficientnet", "test_resnet", "little_mobilenetv3"])
def test_complete_methods_add_up_to_the_logit(arch, photos):
    torch.manual_seed(1)
    network = Network.create(arch, "ABC", Preparation.for_arch("test_efficientnet", 64), "random")
    logits, targets = LabelLogits(network), torch.tensor([1, 2])
    for name, method in METHODS.items():
        if method.complete:
            values = attribute(name, logits, photos, targets)
            tolerance = 1e-3 if name != "integrated gradients" else 0.02  # by 32 points
            assert compute_residual(values, logits, photos, targets).max() < tolerance, name


def test_captums_own_deep_lift_is_not_complete_here(explained, logits, photos, targets):
    inputs = photos.clone().requires_grad_()
    with pytest.warns(UserWarning, match="hooks"):
        values = DeepLift(logits).attribute(inputs, target=targets)
    values = values.detach().sum(1).numpy()
    ours = attribute("DeepLift", logits, photos, targets)
    assert compute_residual(values, logits, photos, targets).min() > 0.01
    assert compute_residual(ours, logits, photos, targets).max() < 1e-3


def test_guided_gradients_pass_where_they_are_positive_and_the_activation_rises():
    inputs = torch.tensor([[-3.0, 1.0, -3.0, 1.0]], requires_grad=True)  # SiLU falls at -3
    model = nn.Sequential(nn.SiLU(), nn.Linear(4, 1, bias=False))
    model[1].weight.data = torch.tensor([[1.0, 1.0, -1.0, -1.0]])
    with pytest.warns(UserWarning, match="hooks"):
        guided = GuidedActivations(model).attribute(inputs, target=0)
    point = torch.tensor(1.0, requires_grad=True)
    nn.functional.silu(point).backward()
    torch.testing.assert_close(guided, torch.tensor([[0.0, point.grad, 0.0, 0.0]]))


def test_class_maps_are_those_of_torchcam(explained, logits, photos, targets):
    predicted = explained.held_out.select(np.arange(2))
    pixels = explained.prepare(predicted.paths)
    differences = compare_with_torchcam(explained.network, pixels, predicted.predicted)
    assert set(differences) == {"CAM", "GradCAM", "logit"}
    assert max(differences.values()) < 1e-5
    maps = compute_class_maps(explained.network, pixels, predicted.predicted)
    shown = attribute(CLASS_MAP, logits, photos, targets)
    height, width = maps.shape[1:]
    cells = shown.reshape(2, height, 64 // height, width, 64 // width).mean((2, 4))
    assert np.corrcoef(cells.ravel(), maps.ravel())[0, 1] > 0.95


def test_class_maps_of_sub_classes_are_those_of_torchcam(photos):
    torch.manual_seed(2)
    classes = {"A male": "A", "A female": "A", "B": "B"}
    preparation = Preparation.for_arch("test_efficientnet", 64)
    network = Network.create("test_efficientnet", classes, preparation, "random")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    differences = compare_with_torchcam(network, pixels, np.array([0, 1]))
    assert set(differences) == {"GradCAM"}
    assert differences["GradCAM"] < 1e-4


def test_scores_prefer_the_pixels_that_matter():
    weight = torch.zeros(1, 3, 28, 28)
    weight[..., 6:10, 6:10] = 0.2
    photo = torch.ones(3, 28, 28)
    photo[:, ::2] = -1  # blurred to nothing
    model = Linear(weight * photo)
    exact = (weight[0, 0]).numpy()
    best = score_removal(model, photo, exact, 0)
    worst = score_removal(model, photo, -exact, 0)
    assert best[0] < 0.55 < 0.9 < worst[0]
    assert best[1] > 0.9 > 0.6 > worst[1]
    removed, inserted = remove_and_insert(photo, exact)
    assert not removed[-1].any()
    torch.testing.assert_close(removed[0], photo)
    torch.testing.assert_close(inserted[-1], photo)


def test_equal_cells_are_ranked_in_random_order():
    rank = rank_cells(np.zeros((28, 28), np.float32))
    assert sorted(rank.ravel()) == list(range(rank.size))
    assert (np.diff(rank.ravel()) != 1).mean() > 0.9


def test_rank_correlations_are_spearmans():
    maps = np.random.default_rng(0).normal(size=(3, 4, 4)).astype(np.float32)
    ours = correlate_ranks(maps, (4, 4))
    flat = maps.reshape(3, -1)
    assert ours[0, 2] == pytest.approx(spearmanr(flat[0], flat[2]).statistic)
    assert np.isnan(correlate_ranks(np.zeros((2, 4, 4), np.float32), (2, 2))[0, 1])


def test_every_method_is_scored_against_the_class_map(scores):
    assert scores.methods == list(METHODS)
    assert not scores.unsupported
    summary = summarize(scores)
    table = scores.table.pivot(index="path", columns="method", values="deletion")
    row = summary.query(
        "method == 'occlusion' and measure == 'deletion' and against == 'class map'"
    )
    difference = (table["occlusion"] - table[CLASS_MAP]).mean()
    assert row["value"].item() == pytest.approx(difference, abs=1e-4)
    assert row["low"].item() <= difference <= row["high"].item()
    assert (scores.table.query("method == 'class map'")["agreement"] == 1).all()
    assert "(" in tabulate_scores(scores, summary).loc[RANDOM, "deletion"]


def test_results_are_reproducible(logits, photos, targets):
    for name in ("smooth gradients", "GradientShap", "Shapley values", RANDOM):
        first, second, other = (
            attribute(name, logits, photos, targets, seed) for seed in (3, 3, 4)
        )
        np.testing.assert_array_equal(first, second)
        assert not np.array_equal(first, other)


def test_methods_that_do_not_support_a_network_get_a_row(explained):
    torch.manual_seed(0)
    preparation, options = Preparation.for_arch("test_vit", 64), {"global_pool": "token"}
    network = Network.create("test_vit", explained.labels, preparation, "random", **options)
    other = dataclasses.replace(explained, network=network)
    methods = [CLASS_MAP, "saliency", "DeepLift", "occlusion", RANDOM]
    scores = score_methods(other, sample_photos(explained.held_out, 2), methods)
    assert set(scores.unsupported) == {CLASS_MAP, "DeepLift"}
    summary = summarize(scores)
    table = tabulate_scores(scores, summary)
    assert "not supported" in table.loc["DeepLift", "what it shows"]
    assert "agreement" not in table
    plots.plot_attributions(other, explained.held_out, [0], methods[:3])
    assert plots.plot_scores(summary).axes
    assert plots.plot_correlation(scores).axes
    assert plots.plot_removal(other, explained.held_out, 0).axes
    pixels = other.prepare(explained.held_out.paths[:1])
    assert max(compare_with_torchcam(network, pixels, np.array([0])).values()) < 1e-5
    viewer = AttributionViewer(other, explained.held_out)
    assert "does not support" in viewer.message.value


def test_wrong_answers_are_shown_for_both_labels(explained):
    held_out = explained.held_out
    truth = held_out.truth.copy()
    truth[0] = (held_out.predicted[0] + 1) % len(explained.labels)
    predictions = dataclasses.replace(held_out, truth=truth)
    wrong = plots.sample_rows(predictions, False, 1)
    figure = plots.plot_attributions(explained, predictions, wrong, [CLASS_MAP, RANDOM])
    assert len(figure.axes) == 6
    none = plots.plot_attributions(explained, held_out, [], [CLASS_MAP])
    assert "No photo" in none.axes[0].texts[0].get_text()


def test_figures_are_drawn(explained, scores):
    summary = summarize(scores)
    assert len(plots.plot_scores(summary).axes) == 3
    assert plots.plot_correlation(scores).axes
    removal = plots.plot_removal(explained, explained.held_out, 0).axes
    assert "0% deleted" in removal[0].get_title("left")
    assert "100% inserted" in removal[-1].get_title("left")


def test_overlay_is_orange_for_and_blue_against():
    values = np.zeros((56, 56), np.float32)
    values[:, :20], values[:, -20:] = 1, -1
    colour = plots.overlay(np.full((56, 56, 3), 128, np.uint8), values)
    assert colour[28, 5, 0] > colour[28, 5, 2]
    assert colour[28, 50, 2] > colour[28, 50, 0]
    assert np.ptp(colour[28, 28]) < 0.01


def test_the_viewer_draws_what_is_chosen(explained):
    viewer = AttributionViewer(explained, explained.held_out)
    first = bytes(viewer.picture.value)
    assert first.startswith(b"\x89PNG")
    assert "image/png" in viewer._repr_mimebundle_()
    viewer.method.value = "saliency"
    second = bytes(viewer.picture.value)
    assert second != first
    viewer.label.index = 1
    assert bytes(viewer.picture.value) != second
    viewer.method.value = CLASS_MAP
    viewer.label.index = 0
    assert bytes(viewer.picture.value) == first
    if "wrong" in viewer.kind.options:
        viewer.kind.value = "wrong"
        assert not explained.held_out.correct[viewer.photo.value]
    viewer.kind.value = "right"
    assert explained.held_out.correct[viewer.photo.value]
    viewer.photo.index = len(viewer.photo.options) - 1
    assert bytes(viewer.picture.value) not in (first, second)


def test_the_viewer_says_that_there_is_no_photo(explained):
    viewer = AttributionViewer(explained, explained.held_out.select(np.arange(0)))
    viewer.method.value = "saliency"
    assert viewer.message.value == "There is no photo to show."
    assert not viewer.picture.value
    viewer._repr_mimebundle_()


def test_a_page_shows_the_first_picture_of_the_viewer(explained, tmp_path):
    viewer = AttributionViewer(explained, explained.held_out)
    output = nbformat.v4.new_output("display_data", viewer._repr_mimebundle_())
    cell = nbformat.v4.new_code_cell("viewer", outputs=[output])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "explain.ipynb")
    page = write_page(tmp_path / "explain.ipynb").read_text(encoding="utf-8")
    assert output.data["image/png"][:200] in page
    assert output.data["application/vnd.jupyter.widget-view+json"]["model_id"] not in page
