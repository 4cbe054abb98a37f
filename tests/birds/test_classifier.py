"""A model file is loaded if its outputs here are those that its card records."""

import numpy as np
import pytest

from birds import drawn, photo
from birds.classifier import Classifier, ModelError
from tests.birds.photos import PNG
from tests.conftest import SIZE
from tests.surgery import change_card


@pytest.fixture(scope="module")
def classifier(model):
    return Classifier(model, threads=2)


def test_a_photo_gets_the_same_outputs_alone_in_a_batch_and_with_one_thread(classifier):
    pixels = np.stack([drawn.draw_bird(name, 5, SIZE, SIZE) for name in drawn.SPECIES])
    batch = classifier.predict(pixels)
    for single_thread in (False, True):
        for index in range(len(pixels)):
            alone = classifier.predict(pixels[index, None], single_thread)
            for output, expected in zip(alone, batch, strict=True):
                assert np.allclose(output[0], expected[index], atol=1e-5)


def test_outputs_have_the_documented_shapes_and_ranges(classifier):
    pixels = np.stack([photo.prepare(data, SIZE) for data in drawn.awkward_photos().values()])
    outputs = classifier.predict(pixels)
    count, classes = len(pixels), len(classifier.labels)
    assert outputs.probability.shape == (count, classes)
    assert np.allclose(outputs.probability.sum(1), 1, atol=1e-5)
    assert outputs.unknown.shape == (count,)
    assert outputs.heatmap.shape == (count, 2, 2)
    assert outputs.heatmap.min() >= 0
    assert outputs.heatmap.max() == pytest.approx(1)
    assert outputs.embedding.shape[0] == count
    assert {output.dtype for output in outputs} == {np.dtype(np.float32)}


@pytest.mark.parametrize("output", ["probability", "unknown", "heatmap", "embedding"])
def test_a_file_whose_output_differs_from_its_card_is_refused(model, tmp_path, output):
    def change(card):
        card["drawn_photo"][output] = (np.asarray(card["drawn_photo"][output]) + 0.01).tolist()

    change_card(model, tmp_path / "birds.onnx", change)
    with pytest.raises(ModelError, match=output):
        Classifier(tmp_path / "birds.onnx", 1)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_photo_is_computed_by_the_given_threads_or_by_one(model, threads):
    classifier = Classifier(model, threads)
    sessions = (classifier.session, classifier.single_thread_session)
    counts = [session.get_session_options().intra_op_num_threads for session in sessions]
    assert counts == [threads, 1]
    assert classifier.prepare_photo(PNG).pixels.shape == (SIZE, SIZE, 3)
