"""Each figure shows what it was given: read off its bars, points, lines and titles."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.colors import same_color
from PIL import Image
from sklearn.metrics import confusion_matrix

from birds import photo
from birds.photo import FILTER
from fieldmark import plotting as plots
from fieldmark.evaluation import galleries
from fieldmark.evaluation import metrics as judge
from fieldmark.evaluation import plots as answer_plots
from fieldmark.evaluation.metrics import Answers
from tests.conftest import SIZE


def made(classes: int, each: int = 4, wrong: int = 3) -> Answers:
    """Make answers of which the first photo of the first `wrong` classes is called the next."""
    truth = np.repeat(np.arange(classes), each)
    answer = truth.copy()
    answer[: wrong * each : each] += 1
    probability = np.full((len(truth), classes), 0.1 / classes, "float32")
    probability[np.arange(len(truth)), answer] = 0.9
    vocab = [f"class {place:03}" for place in range(classes)]
    return Answers(vocab, probability, truth, [f"{place}.jpg" for place in range(len(truth))])


def labels(counts: list[int]) -> pd.DataFrame:
    return pd.DataFrame({"label": np.repeat([f"class {n}" for n in range(len(counts))], counts)})


def numbers(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_a_few_classes_are_bars_with_names_the_commonest_on_top():
    (axes,) = plots.class_counts(labels([3, 9, 5])).axes
    assert [bar.get_width() for bar in axes.patches] == [9, 5, 3]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["class 1", "class 2", "class 0"]
    assert axes.yaxis_inverted()
    assert axes.get_title(loc="left") == "3 classes of 3 to 9 photos"


def test_many_classes_are_a_falling_curve_without_names():
    counts = list(range(10, 110))
    (axes,) = plots.class_counts(labels(counts)).axes
    assert axes.lines[0].get_ydata().tolist() == counts[::-1]
    assert axes.get_yscale() == "linear"


def test_a_long_tail_is_drawn_to_a_logarithmic_scale():
    (axes,) = plots.class_counts(labels([2000, *[2] * 99])).axes
    assert axes.get_yscale() == "log"


def test_sizes_are_drawn_with_what_the_model_sees_and_the_smaller_counted():
    photos = pd.DataFrame({"width": [640, 640, 300, 90], "height": [480, 480, 200, 400]})
    (axes,) = plots.image_sizes(photos, 224).axes
    points, area = axes.collections[0].get_offsets().tolist(), axes.collections[0].get_sizes()
    assert sorted(points) == [[90, 400], [300, 200], [640, 480]]
    assert area[points.index([640, 480])] > area[points.index([90, 400])]
    assert max(axes.lines[0].get_xdata()) == 224
    assert axes.get_title(loc="left").startswith("2 of 4 photos are smaller")


def history() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "epoch": [1, 2, 1],
            "stage": ["frozen", "frozen", "fine-tuning"],
            "train_loss": [3.0, 2.0, 1.0],
            "valid_loss": [3.5, 2.5, 1.5],
            "log_loss": [3.0, 1.0, 2.0],
            "accuracy": [0.2, 0.7, 0.6],
        }
    )


def test_training_is_drawn_epoch_by_epoch_with_its_stages_and_the_best():
    loss, accuracy = plots.training(history()).axes
    assert loss.lines[0].get_ydata().tolist() == [3, 2, 1]
    assert loss.lines[1].get_ydata().tolist() == [3.5, 2.5, 1.5]
    assert [text.strip() for text in numbers(loss)] == ["frozen", "fine-tuning"]
    assert accuracy.get_title(loc="left") == "At the lowest calibrated loss: 70.0 % right"


def test_every_groups_learning_rate_is_drawn_the_heads_in_its_own_colour():
    rates = {"frozen": [0.1, 0.2], "fine-tuning": [[0.01, 0.02], [0.03, 0.04], [0.05, 0.06]]}
    axes = plots.training(history(), rates).axes[2]
    drawn = [line for line in axes.lines if len(line.get_xdata()) > 1]
    lines = [line.get_ydata().tolist() for line in drawn if line.get_linestyle() == "-"]
    assert lines == [[0.1, 0.2], [0.02, 0.04, 0.06], [0.01, 0.03, 0.05]]
    assert drawn[1].get_xdata().tolist() == [2, 3, 4]
    assert same_color(drawn[0].get_color(), plots.RED)


def test_a_small_confusion_matrix_names_every_label_and_counts_as_scikit_learn():
    answers = made(6)
    (axes,) = answer_plots.confusion(answers).axes
    expected = confusion_matrix(answers.truth, answers.answer)
    found = np.zeros_like(expected)
    for text in axes.texts:
        column, row = text.get_position()
        found[row, column] = int(text.get_text())
    assert (found == expected).all()
    assert [tick.get_text() for tick in axes.get_yticklabels()] == answers.vocab
    assert axes.get_title(loc="left") == "3 of 24 photos are off the diagonal"


def test_a_large_confusion_matrix_shows_each_mistake_and_names_only_the_confused():
    left, right = answer_plots.confusion(made(100)).axes
    assert sorted(left.collections[0].get_offsets().tolist()) == [[1, 0], [2, 1], [3, 2]]
    named = [tick.get_text() for tick in right.get_yticklabels()]
    assert named == ["class 000", "class 001", "class 002", "class 003"]


def test_a_large_confusion_matrix_without_a_mistake_is_drawn_too():
    left, _ = answer_plots.confusion(made(100, wrong=0)).axes
    assert left.get_title(loc="left").startswith("0 of 400")


def test_counts_that_would_not_fit_are_shares():
    answers = made(2, each=200, wrong=0)
    answers.truth[:50] = 1  # so 50 of 250 are called the first
    (axes,) = answer_plots.confusion(answers).axes
    assert numbers(axes) == ["100", "20", "80"]
    assert "%" in axes.get_xlabel()


def test_precision_is_drawn_for_all_labels_and_for_the_worst():
    answers = made(6)
    figure = answer_plots.precision_recall(answers, count=2)
    names = [line.get_label() for line in figure.axes[0].lines]
    worst = judge.worst(judge.per_class(answers, pd.Series(dtype=int)), 2)["label"]
    assert [name.split(":")[0] for name in names] == ["all labels", *worst]


@pytest.fixture
def answers(new_learner, table):
    return judge.answers(new_learner(), table, "calibration")


def test_a_gallery_shows_each_photo_as_prepared_with_what_it_was_called(answers, folder):
    figure = galleries.top_losses(answers, folder, SIZE, FILTER, count=3)
    shown = [axes for axes in figure.axes if axes.images]
    rows = answers.table.sort_values("loss", ascending=False).head(3)
    for axes, row in zip(shown, rows.itertuples(), strict=True):
        expected = photo.prepare((folder / row.path).read_bytes(), SIZE)
        assert np.array_equal(axes.images[0].get_array(), expected)
        assert f"{row.answer}, {100 * row.probability:.0f} %" in axes.get_title()


def test_right_and_wrong_answers_are_kept_apart(answers, folder):
    right = galleries.right(answers, folder, SIZE, FILTER, count=100).axes
    wrong = galleries.wrong(answers, folder, SIZE, FILTER, count=100).axes
    told = [axes.get_title()[0] for axes in right if axes.images]
    assert told == ["✓"] * (answers.rank == 0).sum()
    told = [axes.get_title()[0] for axes in wrong if axes.images]
    assert told == ["✗"] * (answers.rank > 0).sum()
    assert "✗" in told


def test_a_model_without_mistakes_has_an_empty_gallery_that_says_so(folder):
    figure = galleries.wrong(made(6, wrong=0), folder, SIZE, FILTER)
    assert not figure.axes
    assert figure.get_suptitle().endswith("there are none")


def test_the_same_photos_are_shown_as_prepared_and_otherwise_in_training(new_learner, folder):
    learn = new_learner()
    figure = galleries.augmentation(learn.dls, count=4, times=1)
    pictures = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    items = learn.dls.train.items.sample(4, random_state=0)
    for place, path in enumerate(items["path"]):
        prepared = photo.prepare((folder / path).read_bytes(), SIZE).astype(int)
        assert abs(pictures[place] - prepared).max() <= 1
        assert abs(pictures[place + 4] - prepared).max() > 20


def test_a_figure_is_saved_in_the_run_and_leaves_nothing_open(tmp_path):
    figure = plots.class_counts(labels([1, 2]))
    assert plots.save(figure, tmp_path, "classes") is figure
    with Image.open(tmp_path / "figures/classes.png") as picture:
        assert picture.width == 9 * 150
    assert pyplot.get_fignums() == []
