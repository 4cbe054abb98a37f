"""Each figure shows what it was given: read off its bars, points, lines and titles."""

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.vision.all import TensorImage, Transform
from matplotlib import pyplot
from matplotlib.colors import same_color
from PIL import Image
from sklearn.metrics import confusion_matrix

from birds import photo
from fieldmark import plotting as plots
from fieldmark.evaluation import galleries
from fieldmark.evaluation import plots as prediction_plots
from fieldmark.evaluation.per_class import per_class_metrics, worst_classes
from fieldmark.evaluation.predictions import Predictions, predict
from fieldmark.network.network import Network
from fieldmark.training.views import predict_with_views, show_augmentation
from tests.conftest import SIZE


def create(classes: int, photos: int = 4, wrong: int = 3) -> Predictions:
    """Return predictions that call the first photo of the first `wrong` classes the next class."""
    truth = np.repeat(np.arange(classes), photos)
    predicted = truth.copy()
    predicted[: wrong * photos : photos] += 1
    logits = np.zeros((len(truth), classes), "float32")
    logits[np.arange(len(truth)), predicted] = 9
    labels = [f"class {number:03}" for number in range(classes)]
    return Predictions(labels, [f"{n}.jpg" for n in range(len(truth))], truth, logits)


def labels(counts: list[int]) -> pd.DataFrame:
    return pd.DataFrame({"label": np.repeat([f"class {n}" for n in range(len(counts))], counts)})


def numbers(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_a_few_classes_are_bars_with_names_the_commonest_on_top():
    (axes,) = plots.plot_class_counts(labels([3, 9, 5])).axes
    assert [bar.get_width() for bar in axes.patches] == [9, 5, 3]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["class 1", "class 2", "class 0"]
    assert axes.yaxis_inverted()
    assert axes.get_title(loc="left") == "3 classes with 3 to 9 photos"


def test_many_classes_are_a_falling_curve_without_names():
    counts = list(range(10, 110))
    (axes,) = plots.plot_class_counts(labels(counts)).axes
    assert axes.lines[0].get_ydata().tolist() == counts[::-1]
    assert axes.get_yscale() == "linear"


def test_a_long_tail_is_drawn_to_a_logarithmic_scale():
    (axes,) = plots.plot_class_counts(labels([2000, *[2] * 99])).axes
    assert axes.get_yscale() == "log"


def test_sizes_are_drawn_with_what_the_model_sees_and_the_smaller_counted():
    photos = pd.DataFrame({"width": [640, 640, 300, 90], "height": [480, 480, 200, 400]})
    (axes,) = plots.plot_image_sizes(photos, 224).axes
    points, area = axes.collections[0].get_offsets().tolist(), axes.collections[0].get_sizes()
    assert sorted(points) == [[90, 400], [300, 200], [640, 480]]
    assert area[points.index([640, 480])] > area[points.index([90, 400])]
    assert max(axes.lines[0].get_xdata()) == 224
    assert axes.get_title(loc="left").endswith("2 of 4 photos")


def history() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "epoch": [1, 2, 1],
            "phase": ["frozen", "frozen", "fine-tuning"],
            "train_loss": [3.0, 2.0, 1.0],
            "valid_loss": [3.5, 2.5, 1.5],
            "log_loss": [3.0, 1.0, 2.0],
            "accuracy": [0.2, 0.7, 0.6],
        }
    )


def test_training_is_drawn_epoch_by_epoch_with_its_stages_and_the_best():
    loss, accuracy = plots.plot_history(history()).axes
    assert loss.lines[0].get_ydata().tolist() == [3, 2, 1]
    assert loss.lines[1].get_ydata().tolist() == [3.5, 2.5, 1.5]
    assert [text.strip() for text in numbers(loss)] == ["frozen", "fine-tuning"]
    assert accuracy.get_title(loc="left") == "Accuracy at the lowest calibrated loss: 70.0 %"


def test_every_groups_learning_rate_is_drawn_the_heads_in_its_own_colour():
    rates = {"frozen": [0.1, 0.2], "fine-tuning": [[0.01, 0.02], [0.03, 0.04], [0.05, 0.06]]}
    axes = plots.plot_history(history(), rates).axes[2]
    lines = [line for line in axes.lines if line.get_linestyle() == "-"]
    rows = [line.get_ydata().tolist() for line in lines]
    assert rows == [[0.1, 0.2], [0.02, 0.04, 0.06], [0.01, 0.03, 0.05]]
    assert lines[1].get_xdata().tolist() == [2, 3, 4]
    assert same_color(lines[0].get_color(), plots.RED)


def test_a_small_confusion_matrix_names_every_label_and_counts_as_scikit_learn():
    predictions = create(6)
    (axes,) = prediction_plots.plot_confusion(predictions).axes
    expected = confusion_matrix(predictions.truth, predictions.predicted)
    found = np.zeros_like(expected)
    for text in axes.texts:
        column, row = text.get_position()
        found[row, column] = int(text.get_text())
    assert (found == expected).all()
    assert [tick.get_text() for tick in axes.get_yticklabels()] == predictions.labels
    assert axes.get_title(loc="left") == "3 of 24 photos are off the diagonal"


def test_a_large_confusion_matrix_shows_each_mistake_and_names_only_the_confused():
    left, right = prediction_plots.plot_confusion(create(100)).axes
    assert sorted(left.collections[0].get_offsets().tolist()) == [[1, 0], [2, 1], [3, 2]]
    named = [tick.get_text() for tick in right.get_yticklabels()]
    assert named == ["class 000", "class 001", "class 002", "class 003"]


def test_a_large_confusion_matrix_without_a_mistake_is_drawn_too():
    left, _ = prediction_plots.plot_confusion(create(100, wrong=0)).axes
    assert left.get_title(loc="left").startswith("0 of 400")


def test_counts_that_would_not_fit_are_shares():
    predictions = create(2, photos=200, wrong=0)
    predictions.truth[:50] = 1  # so 50 of 250 are called the first
    (axes,) = prediction_plots.plot_confusion(predictions).axes
    assert numbers(axes) == ["100", "20", "80"]
    assert "%" in axes.get_xlabel()


def test_precision_is_drawn_for_all_labels_and_for_the_worst():
    predictions = create(6)
    figure = prediction_plots.plot_precision_recall(predictions, count=2)
    names = [line.get_label() for line in figure.axes[0].lines]
    worst = worst_classes(per_class_metrics(predictions), 2)["label"]
    assert [name.split(":")[0] for name in names] == ["all labels", *worst]


def test_calibrated_predictions_lie_on_the_line_of_the_reliability_diagram():
    generator, logits = np.random.default_rng(0), np.tile([[0.0, 2.0]], (4000, 1))
    truth = (generator.random(4000) < 1 / (1 + np.exp(-1.0))).astype(int)  # temperature 2
    predictions = Predictions(["jay", "wren"], [""] * 4000, truth, logits)
    (axes,) = prediction_plots.plot_reliability(predictions, 2.0).axes
    (before,), (after,) = (points.get_offsets() for points in axes.collections)
    assert abs(before[0] - before[1]) > 10
    assert after[0] == pytest.approx(after[1], abs=3)


@pytest.fixture(scope="module")
def network(run):
    return Network.load(run)


@pytest.fixture(scope="module")
def predictions(network, table, folder):
    return predict([network], table[table["split"] == "calibration"], folder)[0]


def test_a_gallery_shows_each_photo_as_prepared_with_its_prediction(predictions, folder, network):
    figure = galleries.show_top_losses(predictions, folder, network.preparation, count=3)
    rows = predictions.table.sort_values("loss", ascending=False).head(3)
    shown = [axes for axes in figure.axes if axes.images]
    for axes, row in zip(shown, rows.itertuples(), strict=True):
        expected = photo.prepare((folder / row.path).read_bytes(), SIZE)
        assert np.array_equal(axes.images[0].get_array(), expected)
        assert f"{row.predicted}, {100 * row.probability:.0f} %" in axes.get_title()


@pytest.mark.parametrize(("name", "mark"), [("show_correct", "✓"), ("show_wrong", "✗")])
def test_correct_and_wrong_predictions_have_a_gallery_each(
    name, mark, predictions, folder, network
):
    figure = getattr(galleries, name)(predictions, folder, network.preparation, count=100)
    marks = [axes.get_title()[0] for axes in figure.axes if axes.images]
    assert marks == [mark] * (predictions.correct == (mark == "✓")).sum()


def test_a_gallery_without_photos_says_so(folder, network):
    figure = galleries.show_wrong(create(6, wrong=0), folder, network.preparation)
    assert not figure.axes
    assert figure.get_suptitle().endswith("none")


def test_photos_are_shown_as_served_and_as_training_augments_them(new_learner, folder):
    learn = new_learner()
    figure = show_augmentation(learn.dls, count=4, times=1)
    pictures = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    items = learn.dls.train.items.sample(4, random_state=0)
    for place, path in enumerate(items["path"]):
        prepared = photo.prepare((folder / path).read_bytes(), SIZE).astype(int)
        assert abs(pictures[place] - prepared).max() <= 1
        assert abs(pictures[place + 4] - prepared).max() > 20


def test_views_of_test_time_augmentation_use_the_transforms_of_the_train_loader(
    new_learner, table, folder
):
    """A transform of the train loader alone, which fastai's own `tta` omits, is applied."""
    learn, photos = new_learner(), table[table["split"] == "calibration"]
    (plain,) = predict([learn.network], photos, folder)
    learn.dls.add_tfms([Transform(blank, order=200)], "after_batch", "train")
    (black,) = torch.zeros(1, 3, SIZE, SIZE).split(1)
    with torch.no_grad():
        expected = learn.model.eval()(black).softmax(1)[0].numpy()
    augmented = predict_with_views(learn, photos, views=2)
    assert augmented.paths == plain.paths
    assert augmented.probability == pytest.approx(
        0.25 * plain.probability + 0.75 * expected, abs=1e-4
    )


def blank(photos: TensorImage):
    return photos * 0


def test_a_figure_is_saved_in_the_run_and_leaves_nothing_open(tmp_path):
    figure = plots.plot_class_counts(labels([1, 2]))
    assert plots.save_figure(figure, tmp_path, "classes") is figure
    with Image.open(tmp_path / "classes.png") as picture:
        assert picture.width == 9 * 150
    assert pyplot.get_fignums() == []
