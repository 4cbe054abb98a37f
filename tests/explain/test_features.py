"""Synthetic images, feature maps and the barcode, on drawn birds and on spectra in closed form."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from fieldmark.explain.features import barcode, channels, grids, plots
from fieldmark.explain.features.feature_maps import (
    compute_maps,
    plot_feature_maps,
    strongest_channels,
)
from fieldmark.explain.features.image import FourierImage, colour_basis
from fieldmark.explain.features.objectives import (
    channel,
    contrast,
    direction,
    diversity,
    label,
    log_probability,
    neuron,
    similarity,
    total,
)
from fieldmark.explain.features.optimise import visualise
from fieldmark.explain.features.samples import measure_photos, to_images
from fieldmark.explain.features.stages import Stages, to_map
from fieldmark.explain.features.transforms import random_affine, random_views
from tests.conftest import create_network

SIZE = 64


@pytest.fixture(scope="module")
def stages(explained):
    return Stages(explained.network)


@pytest.fixture(scope="module")
def sample(explained, stages):
    return measure_photos(explained, stages, 24)


@pytest.fixture(scope="module")
def options(sample):
    # the tiny network has only seen whole birds: strong views are beyond what it knows
    return {"colours": colour_basis(sample.pixels), "size": SIZE, "steps": 64, "strength": 0.1}


def features_of(stages, pixels):
    with torch.no_grad():
        return stages(to_images(pixels))


def random_features():
    random = torch.Generator().manual_seed(0)
    return {
        "stage 1": torch.rand((3, 5, 4, 4), generator=random),
        "logits": torch.rand((3, 6), generator=random),
    }


def test_a_fourier_image_is_the_inverse_transform_of_its_scaled_spectrum():
    image = FourierImage(2, 32, torch.eye(3), seed=3)
    spectrum = torch.view_as_complex(image.spectrum.detach()).numpy()
    down, across = np.fft.fftfreq(32)[:, None], np.fft.rfftfreq(32)
    frequency = np.maximum(np.sqrt(down**2 + across**2), 1 / 32)
    expected = np.fft.irfft2(spectrum * 16 / (16 * frequency) ** 1.4, s=(32, 32), norm="ortho")
    np.testing.assert_allclose(image.signal().detach(), expected, atol=1e-5)


def test_one_frequency_gives_one_wave():
    image = FourierImage(1, 32, torch.eye(3))
    with torch.no_grad():
        image.spectrum.zero_()
        image.spectrum[0, 1, 0, 4, 0] = 1  # green, four waves across
    across = np.cos(2 * np.pi * 4 * np.arange(32) / 32)
    signal = image.signal().detach()[0]
    np.testing.assert_allclose(
        signal[1], np.tile(across, (32, 1)) * 2 / 32 * 16 / 2**1.4, atol=1e-5
    )
    assert not signal[[0, 2]].any()


def test_colours_of_white_noise_have_the_covariance_of_photos():
    random = np.random.default_rng(0)
    mixing = np.array([[1.0, 0.6, 0.3], [0, 0.8, 0.4], [0, 0, 0.5]])
    pixels = (128 + 20 * random.standard_normal((40_000, 3)) @ mixing).clip(0, 255)
    basis = colour_basis(pixels.round().astype(np.uint8).reshape(1, 200, 200, 3)).numpy()
    expected = np.corrcoef(pixels.T)
    covariance = basis @ basis.T
    deviation = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(covariance / np.outer(deviation, deviation), expected, atol=0.01)


def test_views_leave_an_image_as_it_is_at_strength_0_and_turn_it_about_its_middle():
    images = torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    same = random_views(images, torch.Generator(), strength=0)
    torch.testing.assert_close(same, images, atol=1e-4, rtol=0)
    assert random_views(images, torch.Generator()).shape == (2, 3, 38, 38)  # with a border
    dot = torch.zeros(1, 3, 33, 33)
    dot[..., 16, 16] = 1
    turned = random_affine(dot, torch.Generator().manual_seed(1), 180, (1, 1), 0)
    assert turned[0, 0, 16, 16] == pytest.approx(1, abs=1e-4)


def test_objectives_are_values_of_maps_and_logits():
    features = random_features()
    maps, logits = features["stage 1"], features["logits"]
    assert channel("stage 1", 2)(features) == maps[:, 2].mean()
    assert channel("stage 1", 2, image=1)(features) == maps[1, 2].mean()
    assert neuron("stage 1", 2, image=1)(features) == maps[1, 2, 2, 2]
    assert label(4, image=2)(features) == logits[2, 4]
    both = channel("stage 1", 2) + 3 * label(4)
    assert both(features) == maps[:, 2].mean() + 3 * logits[:, 4].mean()
    assert total([both, both])(features) == pytest.approx(2 * float(both(features)))
    assert contrast(4, 1, image=2)(features) == logits[2, 4] - logits[2, 1]
    vector = torch.arange(5.0)
    dot = torch.einsum("ndhw,d->nhw", maps, functional.normalize(vector, dim=0))
    expected = (dot * dot / maps.norm(dim=1)).mean()
    torch.testing.assert_close(direction("stage 1", vector)(features), expected)


def test_similarity_is_that_of_textures_wherever_they_are():
    maps = random_features()["stage 1"][:1]
    shifted = torch.roll(maps, (1, 2), (2, 3))
    torch.testing.assert_close(similarity(torch.cat([maps, shifted])), torch.tensor(1.0))
    apart = torch.zeros(2, 4, 2, 2)
    apart[0, 0], apart[1, 1] = 1, 1
    assert similarity(apart) == 0
    assert diversity("x")({"x": apart}) == 0


def test_stages_keep_logits_and_shapes_of_every_architecture(explained, stages):
    pixels = explained.prepare(explained.held_out.paths[:2])
    features = features_of(stages, pixels)
    expected = explained.held_out.logits[:2]
    np.testing.assert_allclose(features["logits"], expected, atol=1e-4)
    last = features[list(stages.channels)[-1]]
    np.testing.assert_allclose(last.mean((2, 3)), explained.held_out.embedding[:2], atol=1e-4)
    for name, width in stages.channels.items():
        assert features[name].shape[1] == width
    tokens = torch.rand(2, 17, 8)  # a class token and 4 x 4 patches
    patches, turned = to_map(tokens), to_map(torch.rand(2, 4, 4, 9))
    assert patches is not None
    assert torch.equal(patches[0, :, 0, 1], tokens[0, 2])
    assert turned is not None
    assert turned.shape == (2, 9, 4, 4)
    assert to_map(torch.rand(2, 9)) is None


@pytest.mark.parametrize("arch", ["test_vit", "test_convnext", "test_resnet"])
def test_images_of_other_sizes_reach_every_architecture(arch):
    stages = Stages(create_network("random", arch, size=160 if arch == "test_vit" else 64))
    assert len(stages.channels) > 1
    features = stages(torch.rand(1, 3, 96, 96))
    assert all(features[name].shape[1] == width for name, width in stages.channels.items())


def test_an_optimised_image_exceeds_noise_and_photos(stages, sample, options):
    chosen = channels.choose_channels(sample, depths=2, count=2)
    objective = channels.channels_objective(chosen, sample)
    images = visualise(stages, objective, batch=4, **options)
    noise = np.random.default_rng(0).integers(0, 256, images.shape, np.uint8)
    value, of_noise = (features_of(stages, pixels) for pixels in (images, noise))
    for number, each in enumerate(chosen):
        found = float(channel(each.stage, each.index, number)(value))
        best = sample.means[each.stage][:, each.index].max()
        deviation = sample.deviations[each.stage][each.index]
        assert found > best
        assert found > float(channel(each.stage, each.index)(of_noise)) + deviation
    again = visualise(stages, objective, batch=4, **options)
    assert np.array_equal(images, again)


def test_an_image_for_a_label_is_predicted_as_it(explained, stages, options):
    objective = total([label(index, index) for index in range(6)])
    images = visualise(stages, objective, batch=6, **options)
    logits = features_of(stages, images)["logits"].diagonal().numpy()
    assert (logits > 2 * explained.predictions.logits.max(0)).all()
    objective = total([log_probability(index, index) for index in range(6)])
    images = visualise(stages, objective, batch=6, **options | {"strength": 0})
    probability = features_of(stages, images)["logits"].softmax(1)
    assert probability.diagonal().min() > 0.9


def test_diversity_lowers_the_similarity_of_a_channels_images(stages, sample, options):
    each = channels.choose_channels(sample, depths=1, count=1)[0]
    alone = channels.scaled(channel(each.stage, each.index), each, sample)
    found = {
        weight: similarity(
            features_of(
                stages,
                visualise(stages, alone + weight * diversity(each.stage), batch=3, **options),
            )[each.stage]
        )
        for weight in (0.0, 10.0)
    }
    assert found[10.0] < found[0.0] - 0.02


def test_parts_of_a_photo_are_found_in_a_map_made_of_them():
    strengths = np.zeros((2, 6, 6))
    strengths[0, :3], strengths[1, 3:] = 2, 1
    directions = np.array([[1.0, 0, 2, 0], [0, 3, 0, 1]])
    maps = np.einsum("khw,kd->dhw", strengths, directions)
    found, vectors = grids.factorise_maps(maps, 2)
    np.testing.assert_allclose(found, strengths / strengths.max((1, 2), keepdims=True), atol=1e-3)
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    np.testing.assert_allclose(
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True), unit, atol=1e-3
    )
    few, _ = grids.factorise_maps(maps[:, :1, :2], 6)
    assert len(few) <= 2


def test_the_strongest_maps_vary_most(explained, stages):
    maps = np.zeros((3, 4, 4))
    maps[1, 0], maps[2] = 1, 5
    assert strongest_channels(maps, 1).tolist() == [1]
    pixels = explained.prepare(explained.held_out.paths[:1])[0]
    found = compute_maps(stages, pixels)
    figure = plot_feature_maps(stages, pixels, 3)
    assert len(figure.axes) == 4 * len(found)


def test_photos_of_a_species_share_bars(explained):
    made = barcode.make_barcode(explained, labels=3, photos=2)
    assert made.rows.shape == (6, explained.predictions.embedding.shape[1])
    table = barcode.correlate_labels(explained)
    held_out = explained.held_out
    values = barcode.standardise(held_out, explained.predictions.of_split("train"))
    correlation = np.corrcoef(values)
    own = held_out.truth == explained.labels.index(table["label"].iloc[0])
    inside = correlation[np.ix_(own, own)][~np.eye(own.sum(), dtype=bool)].mean()
    assert table["within"].iloc[0] == pytest.approx(inside, abs=1e-5)
    between = correlation[np.ix_(own, ~own)].mean()
    assert table["between"].iloc[0] == pytest.approx(between, abs=1e-5)
    assert table["within"].mean() > table["between"].mean()
    assert "same species" in barcode.describe_correlations(table)
    assert "Too few" in barcode.describe_correlations(table.head(1))


def test_figures_are_drawn_of_a_network_with_and_without_maps(explained, stages, sample, options):
    quick = options | {"steps": 2, "size": 32}
    pixels = explained.prepare(explained.held_out.paths[:1])[0]
    for figure in (
        plots.draw_channels(stages, sample, **quick),
        plots.draw_facets(stages, sample, **quick),
        plots.draw_labels(explained, stages, **quick),
        plots.draw_grid(stages, pixels, **quick),
        barcode.plot_barcode(barcode.make_barcode(explained), "Barcode"),
    ):
        assert figure.axes
        figure.canvas.draw()


def test_a_network_without_maps_gets_a_sentence_and_images_of_its_labels(explained, options):
    stages = Stages(explained.network)
    stages.channels, stages.places = {}, []
    sample = measure_photos(explained, stages, 4)
    pixels = explained.prepare(explained.held_out.paths[:1])[0]
    quick = options | {"steps": 1, "size": 32}
    for figure in (
        plots.draw_channels(stages, sample, **quick),
        plots.draw_facets(stages, sample, **quick),
        plots.draw_grid(stages, pixels, **quick),
        plot_feature_maps(stages, pixels),
    ):
        assert "no feature maps" in figure.axes[0].texts[0].get_text()
    assert len(plots.draw_labels(explained, stages, 2, **quick).axes) == 6


def test_labels_are_those_that_are_confused_and_then_those_with_most_photos(explained):
    predictions = explained.predictions
    logits = np.full_like(predictions.logits, -9.0)
    predicted = predictions.truth.copy()
    first = np.flatnonzero((predictions.splits == "valid") & (predicted == 4))[0]
    predicted[first] = 2
    logits[np.arange(len(logits)), predicted] = 9
    planted = replace(explained, predictions=replace(predictions, logits=logits))
    assert channels.choose_labels(planted, 2) == [4, 2]
    assert sorted(channels.choose_labels(planted, 6)) == [0, 1, 2, 3, 4, 5]
    train = np.flatnonzero((predictions.splits == "train") & (predictions.truth == 1))
    logits[train, 5] = 8.5
    assert channels.find_rival(planted, 1) == 5
