"""Answers are counted as scikit-learn and a pencil count them, with intervals that hold."""

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.vision.all import TensorImage, Transform
from scipy import stats
from sklearn.metrics import precision_recall_fscore_support, top_k_accuracy_score

from birds import photo
from fieldmark.data import loaders as data
from fieldmark.evaluation import metrics as judge
from fieldmark.evaluation.metrics import Answers

VOCAB = ["crow", "jay", "wren"]


def answers(pairs: str) -> Answers:
    """Make answers from words like `cj`, a crow that was called a jay with 80 %."""
    letters = [label[0] for label in VOCAB]
    truth, answer = (np.array([letters.index(pair[i]) for pair in pairs.split()]) for i in (0, 1))
    probability = np.full((len(truth), 3), 0.1, "float32")
    probability[np.arange(len(truth)), answer] = 0.8
    return Answers(VOCAB, probability, truth, [f"{i}.jpg" for i in range(len(truth))])


@pytest.fixture(scope="module")
def many() -> Answers:
    """Make 400 answers of some skill over nine classes."""
    chance = np.random.default_rng(0)
    truth = np.r_[np.arange(9), chance.integers(9, size=391)]
    scores = chance.normal(size=(400, 9))
    scores[np.arange(400), truth] += 1.5
    probability = torch.from_numpy(scores).softmax(1).numpy()
    return Answers(list("abcdefghi"), probability, truth, [str(i) for i in range(400)])


def test_metrics_are_scikit_learns(many):
    found = {name: each["value"] for name, each in judge.metrics(many).items()}
    precision, recall, f1, _ = precision_recall_fscore_support(
        many.truth, many.answer, average="macro"
    )
    expected = {
        "accuracy": (many.truth == many.answer).mean(),
        "top_5": top_k_accuracy_score(many.truth, many.probability, k=5),
        "macro_precision": precision,
        "macro_recall": recall,
        "macro_f1": f1,
    }
    assert found == pytest.approx(expected, abs=1e-4)


def test_an_interval_is_about_what_a_formula_or_scipys_own_bootstrap_gives(many):
    found = judge.metrics(many)
    right = int((many.truth == many.answer).sum())
    formula = stats.binomtest(right, 400).proportion_ci(0.95, "wilson")
    assert found["accuracy"]["interval"] == pytest.approx(tuple(formula), abs=0.01)

    def macro_f1(truth, answer):
        return precision_recall_fscore_support(
            truth, answer, average="macro", labels=range(9), zero_division=0
        )[2]

    other = stats.bootstrap(
        (many.truth, many.answer),
        macro_f1,
        paired=True,
        vectorized=False,
        n_resamples=300,
        method="BCa",
        rng=1,
    ).confidence_interval
    assert found["macro_f1"]["interval"] == pytest.approx(tuple(other), abs=0.02)
    assert found["macro_f1"]["method"] == "BCa bootstrap"


def test_the_same_seed_gives_the_same_interval_and_another_seed_another(many):
    one, same, other = (judge.metrics(many, draws=200, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one["macro_f1"]["interval"] != other["macro_f1"]["interval"]


@pytest.mark.parametrize(("pairs", "value"), [("cc jj ww cc", 1.0), ("cj jw wc cw", 0.0)])
def test_all_right_or_all_wrong_is_not_certain_for_ever(pairs, value):
    found = judge.metrics(answers(pairs))["macro_f1"]
    low, high = found["interval"]
    assert found["value"] == value
    assert found["method"] == "Wilson"
    assert high - low > 0.3


def test_a_model_that_cannot_decide_gets_no_credit_for_it():
    undecided = Answers(VOCAB, np.full((3, 3), 1 / 3, "float32"), np.arange(3), ["", "", ""])
    assert undecided.rank.tolist() == [0, 1, 2]
    assert judge.metrics(undecided)["accuracy"]["value"] == pytest.approx(1 / 3, abs=1e-4)


def test_the_loss_of_a_photo_is_what_its_label_lacked():
    table = answers("cc cj").table
    assert table["loss"].tolist() == pytest.approx([-np.log(0.8), -np.log(0.1)], rel=1e-5)
    assert table["predicted"].tolist() == ["crow", "jay"]
    assert table["probability_of_label"].tolist() == pytest.approx([0.8, 0.1])


def test_each_class_is_counted_as_by_hand():
    classes = judge.per_class(answers("cc cc cj jj jj jw"), pd.Series({"jay": 7}))
    by_label = classes.set_index("label")
    assert by_label["n"].to_dict() == {"crow": 3, "jay": 3, "wren": 0}
    assert by_label["taught"].to_dict() == {"crow": 0, "jay": 7, "wren": 0}
    assert by_label["precision"].tolist() == pytest.approx([1, 2 / 3, 0])
    assert by_label["recall"].tolist()[:2] == pytest.approx([2 / 3, 2 / 3])
    assert by_label["f1"].tolist()[:2] == pytest.approx([4 / 5, 2 / 3])
    assert np.isnan(by_label.loc["wren", "recall"])


def test_the_worst_classes_come_first_and_those_nobody_judged_not_at_all():
    classes = judge.per_class(answers("cc cc cj jj jj jw"), pd.Series(dtype=int))
    assert judge.worst(classes)["label"].tolist() == ["jay", "crow"]
    assert judge.worst(classes, 1)["label"].tolist() == ["jay"]


def test_the_long_tail_is_judged_apart():
    taught = [3, 5, 5, 9, 90, 100]
    classes = pd.DataFrame({"taught": taught, "n": 10, "right": [1, 4, 6, 8, 9, 10]})
    tail = judge.long_tail(classes)
    assert tail["most_taught"].tolist() == [5, 9, 100]
    assert tail["accuracy"].tolist() == pytest.approx([11 / 30, 8 / 10, 19 / 20], abs=1e-4)
    assert tail["n"].sum() == 60


def test_classes_of_one_size_have_no_tail():
    classes = pd.DataFrame({"taught": [25] * 9, "n": 3, "right": 2})
    assert judge.long_tail(classes)["classes"].tolist() == [9]


def test_the_most_confused_pair_comes_first_in_the_direction_of_the_mistake():
    pairs = judge.confused(answers("cc cj cj jc wj"))
    assert pairs.to_numpy().tolist() == [["crow", "jay", 2], ["jay", "crow", 1], ["wren", "jay", 1]]


def test_a_learner_answers_each_photo_of_the_part_as_it_is_prepared(new_learner, table, folder):
    learn = new_learner()
    found = judge.answers(learn, table, "calibration")
    part = table[table["split"] == "calibration"]
    assert found.paths == part["path"].tolist()
    assert [found.vocab[place] for place in found.truth] == part["label"].tolist()
    file = (folder / found.paths[3]).read_bytes()
    pixels = torch.from_numpy(photo.prepare(file, 64)).permute(2, 0, 1)[None] / 255
    normalise = learn.dls.valid.after_batch[-1]
    with torch.no_grad():
        logits = learn.model.eval()((pixels - normalise.mean.cpu()) / normalise.std.cpu())
    expected = logits.as_subclass(torch.Tensor).softmax(1)[0].numpy()
    assert found.probability[3] == pytest.approx(expected, abs=1e-5)


def test_more_views_change_the_answer_and_leave_the_next_one_as_it_was(new_learner, table):
    learn = new_learner()
    plain = judge.answers(learn, table, "calibration")
    viewed = judge.answers(learn, table, "calibration", views=2)
    again = judge.answers(learn, table, "calibration")
    assert abs(viewed.probability - plain.probability).max() > 1e-4
    assert viewed.probability.sum(1) == pytest.approx(np.ones(len(plain.paths)), abs=1e-5)
    assert np.array_equal(plain.probability, again.probability)


def blank(photos: TensorImage):
    return photos * 0


def test_views_are_those_of_the_train_loader_which_fastais_own_tta_leaves_out(new_learner, table):
    learn = new_learner()
    learn.dls.add_tfms([Transform(blank, order=200)], "after_batch", "train")
    loader = learn.dls.test_dl(table[table["split"] == "valid"], with_labels=True)
    with loader.dataset.set_split_idx(0):  # as `tta` does
        assert loader.one_batch()[0].any()
    with data.augmented_loader(learn.dls, loader) as shown:
        assert not shown.one_batch()[0].any()
