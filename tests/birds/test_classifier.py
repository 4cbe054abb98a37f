"""A model file is loaded if it is ours, whole, and computes here what it computed at home."""

import shutil

import numpy as np
import pytest

from birds import drawn, photo
from birds.classifier import Classifier, ModelError
from tests.conftest import SIZE
from tests.surgery import rewrite


def test_one_photo_is_a_batch_of_one(model):
    classifier = Classifier(model)
    photos = np.stack([drawn.draw_bird(name, 5, SIZE, SIZE) for name in drawn.SPECIES])
    together = classifier.predict(photos)
    for index, pixels in enumerate(photos):
        alone = classifier.predict(pixels[None])
        for one, many in zip(alone, together, strict=True):
            assert np.allclose(one[0], many[index], atol=1e-5)


def test_outputs_have_the_shapes_and_ranges_of_the_contract(model):
    classifier = Classifier(model)
    photos = np.stack([photo.prepare(data, SIZE) for data in drawn.awkward_photos().values()])
    outputs = classifier.predict(photos)
    count, classes = len(photos), len(classifier.labels)
    assert outputs.probability.shape == (count, classes)
    assert np.allclose(outputs.probability.sum(1), 1, atol=1e-5)
    assert outputs.unknown.shape == (count,)
    assert outputs.heatmap.shape == (count, 2, 2)
    assert outputs.heatmap.min() >= 0
    assert outputs.heatmap.max() == pytest.approx(1)
    assert outputs.embedding.shape[0] == count
    assert {output.dtype for output in outputs} == {np.dtype(np.float32)}


@pytest.mark.parametrize("output", ["probability", "unknown", "heatmap", "embedding"])
def test_a_file_that_computes_something_else_than_its_card_says_is_refused(model, tmp_path, output):
    def change(card):
        card["drawn_photo"][output] = (np.asarray(card["drawn_photo"][output]) + 0.01).tolist()

    rewrite(model, tmp_path / "birds.onnx", change)
    with pytest.raises(ModelError, match=output):
        Classifier(tmp_path / "birds.onnx")


def test_an_untouched_copy_is_loaded(model, tmp_path):
    shutil.copy(model, tmp_path / "birds.onnx")
    assert Classifier(tmp_path / "birds.onnx").size == SIZE
