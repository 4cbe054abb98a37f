"""Predictions describe each photo once; networks and files compute it from the same pixels."""

import numpy as np
import pytest
import torch

from birds import photo
from birds.classifier import Classifier
from fieldmark.evaluation.predictions import (
    Predictions,
    concatenate,
    from_probability,
    predict,
    predict_with_file,
)
from fieldmark.network.network import Network

LABELS = ["crow", "jay", "wren"]


def create_predictions(pairs: str, splits=None) -> Predictions:
    """Return predictions from words such as `cj`, a crow that is called a jay with 80 %."""
    letters = [label[0] for label in LABELS]
    truth, predicted = (
        np.array([letters.index(pair[i]) for pair in pairs.split()]) for i in (0, 1)
    )
    probability = np.full((len(truth), 3), 0.1)
    probability[np.arange(len(truth)), predicted] = 0.8
    paths = [f"{number}.jpg" for number in range(len(truth))]
    return from_probability(
        probability, 1.0, labels=LABELS, paths=paths, truth=truth, splits=splits
    )


def test_the_table_has_label_prediction_and_loss_of_each_photo():
    table = create_predictions("cc jw").table
    assert table["path"].tolist() == ["0.jpg", "1.jpg"]
    assert table["label"].tolist() == ["crow", "jay"]
    assert table["predicted"].tolist() == ["crow", "wren"]
    assert table["rank"].tolist() == [0, 2]  # crow is as probable as jay
    assert table["probability_of_label"].tolist() == pytest.approx([0.8, 0.1])
    assert table["loss"].tolist() == pytest.approx([-np.log(0.8), -np.log(0.1)])


def test_equal_probabilities_do_not_count_as_correct():
    undecided = Predictions(LABELS, ["", "", ""], np.arange(3), np.zeros((3, 3)))
    assert undecided.rank.tolist() == [0, 1, 2]
    assert undecided.correct.sum() == 1


def test_photos_are_selected_by_mask_path_and_split():
    predictions = create_predictions("cc jj ww cj", np.array(["valid", "valid", "test", "test"]))
    assert predictions.select(predictions.correct).paths == ["0.jpg", "1.jpg", "2.jpg"]
    chosen = predictions.select(["3.jpg", "1.jpg"])
    assert chosen.truth.tolist() == [0, 1]
    assert np.array_equal(chosen.logits, predictions.logits[[3, 1]])
    assert predictions.of_split("test").paths == ["2.jpg", "3.jpg"]
    both = concatenate([predictions.of_split("valid"), predictions.of_split("test")])
    assert both.table.equals(predictions.table)


@pytest.mark.parametrize("splits", [None, ["valid", "calibration"], ["calibration"] * 2])
def test_photos_of_another_split_may_not_choose(splits):
    predictions = create_predictions("cc jj", None if splits is None else np.array(splits))
    with pytest.raises(ValueError, match="`valid` only"):
        predictions.require_split("valid", "Choosing an epoch")


def test_the_temperature_is_undone_by_scaling():
    logits = np.array([[2.0, 1.0, 0.0]])
    predictions = Predictions(LABELS, ["a"], np.zeros(1, int), logits)
    served = from_probability(
        predictions.scaled(0.5).probability, 0.5, labels=LABELS, paths=["a"], truth=np.zeros(1, int)
    )
    assert served.probability == pytest.approx(predictions.scaled(0.5).probability)
    assert served.scaled(1.0).probability == pytest.approx(predictions.probability)


def test_several_networks_see_each_photo_as_the_function_prepares_it(run, table, folder):
    network, other = Network.load(run), Network.load(run)
    with torch.no_grad():
        other.head[-1].weight.neg_()
    photos = table[table["split"] == "calibration"]
    first, second = predict([network, other], photos, folder, batch_size=5)
    assert first.paths == photos["path"].tolist()
    assert [first.labels[label] for label in first.truth] == photos["label"].tolist()
    assert set(first.splits) == {"calibration"}
    pixels = photo.prepare((folder / first.paths[7]).read_bytes(), network.preparation.size)
    logits, embedding = network.forward_pixels(pixels[None])
    assert np.allclose(first.logits[7], logits[0], atol=1e-4)
    assert np.allclose(first.embedding[7], embedding[0], atol=1e-4)
    assert np.array_equal(first.embedding, second.embedding)
    assert not np.allclose(first.logits, second.logits)


def test_a_file_predicts_what_its_network_does(run, table, folder):
    classifier, photos = Classifier(run / "birds.onnx"), table[table["split"] == "valid"]
    by_file = predict_with_file(classifier, photos, folder)
    (by_network,) = predict([Network.load(run)], photos, folder)
    calibrated = by_network.scaled(classifier.card["temperature"])
    assert by_file.probability == pytest.approx(calibrated.probability, abs=1e-3)
    assert np.allclose(by_file.embedding, by_network.embedding, atol=1e-3)
    assert by_file.ood_score.shape == (len(photos),)
