"""Bytes to a name: where the model looks, how often, and which look it keeps."""

import numpy as np
import pytest

from birds import drawn, photo
from birds.classifier import Outputs
from birds.crops import centre_crop, overlap
from birds.identifier import Identifier
from birds.looks import choose_look
from birds.workers.decoder import Decoder
from tests.birds.photos import encode_png
from tests.conftest import SIZE
from tests.finders import TWO_BIRDS, draw_scene

SCENE = encode_png(draw_scene(TWO_BIRDS))


class Counting:
    """A model whose unknown score is given for each look, and that notes its batches."""

    def __init__(self, *scores: float):
        self.scores, self.batches = list(scores), []

    def predict(self, pixels: np.ndarray) -> Outputs:
        self.batches.append(len(pixels))
        unknown = np.array([self.scores.pop(0) for _ in pixels])
        return Outputs(unknown[:, None], unknown, unknown, unknown)


CROPS = [centre_crop(100 + number, 80) for number in range(4)]


def choose(model, threshold, crops=CROPS):
    return choose_look(crops, lambda crop: np.zeros((8, 8, 3)), model.predict, threshold)


def test_a_first_look_that_is_familiar_is_the_only_one():
    model = Counting(0.5)
    assert [look.crop for look in choose(model, 0.5)] == CROPS[:1]
    assert model.batches == [1]


def test_after_a_doubtful_look_the_most_familiar_of_all_is_kept():
    model = Counting(0.7, 0.9, 0.1, 0.3)
    looks = choose(model, 0.5)
    assert [look.crop for look in looks] == [CROPS[i] for i in (2, 3, 0, 1)]
    assert looks[0].outputs.probability[looks[0].index] == 0.1
    assert model.batches == [1, 3]


def test_a_model_without_a_threshold_is_never_in_doubt():
    model = Counting(9)
    assert len(choose(model, None)) == 1
    assert len(choose(Counting(9), 0.5, CROPS[:1])) == 1


@pytest.fixture
def classifier(identifier):
    return identifier.classifier


def test_a_small_bird_off_centre_is_looked_at_where_it_is(identifier, classifier):
    found = identifier.identify(identifier.prepare(SCENE))
    crop = found.chosen.crop
    assert crop.source == "finder"
    assert max(overlap(crop, place[1:] + place[3:]) for place in TWO_BIRDS) > 0.5
    again = photo.prepare_photo(SCENE, SIZE, classifier.filter, crop.square)
    assert np.array_equal(found.chosen.pixels, again.pixels)
    expected = classifier.predict(again.pixels[None]).probability[0]
    chosen = found.chosen.outputs.probability[found.chosen.index]
    assert np.allclose(chosen, expected, atol=1e-5)
    assert (found.width, found.height) == (720, 480)
    assert found.seconds.keys() == {"prepare", "find", "model"}


def test_all_birds_are_named_with_the_chosen_one_first(identifier):
    photo = identifier.prepare(SCENE)
    found = identifier.identify(photo, all_birds=True)
    assert found.birds[0] == found.chosen
    assert len(found.birds) >= 2
    for place in TWO_BIRDS:
        assert max(overlap(look.crop, place[1:] + place[3:]) for look in found.birds) > 0.5
    assert len({look.crop.box for look in found.birds}) == len(found.birds)
    assert len(identifier.identify(photo).birds) == 1


@pytest.mark.parametrize("where", ["center", (90, 250, 60, 40)])
def test_without_the_finder_only_the_prepared_square_comes_back(identifier, classifier, where):
    prepared = identifier.prepare(SCENE, where)
    found = identifier.identify(prepared, where, all_birds=True)
    crop = found.chosen.crop
    assert len(found.birds) == 1
    if where == "center":
        assert np.array_equal(prepared.pixels, photo.prepare(SCENE, SIZE, classifier.filter))
        assert crop[:5] == (120, 0, 480, 480, "center")
    else:
        assert crop[:5] == (90, 240, 60, 60, "request")
    assert crop.box is None


def test_without_a_finder_the_middle_square_is_looked_at(classifier):
    identifier = Identifier(classifier)
    found = identifier.identify(identifier.prepare(SCENE))
    assert found.chosen.crop[:5] == (120, 0, 480, 480, "center")


def test_where_nothing_is_found_the_pixels_are_those_of_the_middle_square(identifier, classifier):
    data = drawn.encode_photo(draw_scene([]))
    found = identifier.identify(identifier.prepare(data))
    assert found.chosen.crop.source == "center"
    assert np.array_equal(found.chosen.pixels, photo.prepare(data, SIZE, classifier.filter))


def test_a_worker_prepares_the_same_photo_as_this_process(identifier):
    decoder = Decoder(1)
    try:
        for where in ("auto", "center"):
            there = identifier.prepare_in_worker(decoder, SCENE, where).result().value
            here = identifier.prepare(SCENE, where)
            assert type(there) is type(here)
            assert all(np.array_equal(a, b) for a, b in zip(there, here, strict=True))
    finally:
        decoder.close()


def test_photos_in_one_batch_get_the_answers_that_each_gets_alone(identifier):
    scenes = [draw_scene(TWO_BIRDS), draw_scene(TWO_BIRDS[:1]), draw_scene(TWO_BIRDS)[:, 100:500]]
    photos = [identifier.prepare(encode_png(scene)) for scene in scenes]
    photos.append(identifier.prepare(SCENE, "center"))
    together = identifier.identify_batch(photos, all_birds=True)
    for prepared, found in zip(photos, together, strict=True):
        alone = identifier.identify(prepared, all_birds=True)
        assert (found.looks, len(found.birds)) == (alone.looks, len(alone.birds))
        assert [look.crop.square for look in found.birds] == [
            look.crop.square for look in alone.birds
        ]
        assert np.allclose(found.boxes, alone.boxes, atol=1e-3)
        for one, other in zip(found.birds, alone.birds, strict=True):
            ours, theirs = (look.outputs.probability[look.index] for look in (one, other))
            assert np.allclose(ours, theirs, atol=1e-5)
