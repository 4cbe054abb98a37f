"""A model file is loaded if it is ours, whole, and computes here what it computed at home."""

import json
import shutil

import numpy as np
import onnx
import pytest

from birds import drawn, photo
from birds.classifier import Classifier, ModelError
from birds.verdict import percent
from tests.conftest import SIZE


def rewrite(model, to, change) -> None:
    """Copy a model file with its card changed."""
    proto = onnx.load(model)
    card = json.loads(proto.metadata_props[0].value)
    change(card)
    proto.metadata_props[0].value = json.dumps(card)
    onnx.save(proto, to)


def test_one_photo_is_a_batch_of_one(model):
    classifier = Classifier(model)
    photos = np.stack([drawn.bird(name, 5, SIZE, SIZE) for name in drawn.SPECIES])
    together = classifier.predict(photos)
    for index, pixels in enumerate(photos):
        alone = classifier.predict(pixels[None])
        for one, many in zip(alone, together, strict=True):
            assert np.allclose(one[0], many[index], atol=1e-5)


def test_outputs_have_the_shapes_and_ranges_of_the_contract(model):
    classifier = Classifier(model)
    photos = np.stack([photo.prepare(data, SIZE) for data in drawn.awkward().values()])
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


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(ModelError, match="make publish"):
        Classifier(tmp_path / "birds.onnx")


def test_a_damaged_file_is_refused(model, tmp_path):
    damaged = tmp_path / "birds.onnx"
    damaged.write_bytes(model.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="damaged"):
        Classifier(damaged)


def test_a_file_without_our_card_is_refused(model, tmp_path):
    proto = onnx.load(model)
    del proto.metadata_props[:]
    onnx.save(proto, tmp_path / "birds.onnx")
    with pytest.raises(ModelError, match="no Fieldmark model"):
        Classifier(tmp_path / "birds.onnx")


@pytest.mark.parametrize("output", ["probability", "unknown", "heatmap", "embedding"])
def test_a_file_that_computes_something_else_than_its_card_says_is_refused(model, tmp_path, output):
    def change(card):
        card["drawn_photo"][output] = (np.asarray(card["drawn_photo"][output]) + 0.01).tolist()

    rewrite(model, tmp_path / "birds.onnx", change)
    with pytest.raises(ModelError, match=output):
        Classifier(tmp_path / "birds.onnx")


def no_record(card):
    card["drawn_photo"] = {}


def another_size(card):
    card["preparation"]["size"] += 8


def a_label_less(card):
    card["labels"].pop()


def no_version(card):
    del card["version"]


@pytest.mark.parametrize("change", [no_record, another_size, a_label_less, no_version])
def test_a_card_that_does_not_fit_its_graph_is_refused(model, tmp_path, change):
    rewrite(model, tmp_path / "birds.onnx", change)
    with pytest.raises(ModelError):
        Classifier(tmp_path / "birds.onnx")


def test_an_untouched_copy_is_loaded(model, tmp_path):
    shutil.copy(model, tmp_path / "birds.onnx")
    assert Classifier(tmp_path / "birds.onnx").size == SIZE


@pytest.mark.parametrize(
    ("probability", "words"),
    [(0.0, "less than 1 %"), (0.876, "88 %"), (0.9949, "99 %"), (1.0, "over 99 %")],
)
def test_nobody_is_ever_quite_sure(probability, words):
    assert percent(probability) == words
