"""Figures of the answers: what was taken for what, and what surer answers cost."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import softmax
from sklearn.metrics import average_precision_score, precision_recall_curve

from fieldmark.evaluation.calibration import expected_error
from fieldmark.evaluation.calibration import reliability as reliability_table
from fieldmark.evaluation.metrics import Answers, confused, per_class, worst
from fieldmark.plotting import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, panels, styled


@styled
def confusion(answers: Answers, most: int = 25) -> Figure:
    """Plot the confusion matrix; for over `most` labels, all mistakes and the worst labels' own."""
    classes = len(answers.vocab)
    matrix = np.zeros((classes, classes), int)
    np.add.at(matrix, (answers.truth, answers.answer), 1)
    wrong = int((answers.truth != answers.answer).sum())
    title = f"{wrong:,} of {len(answers.truth):,} photos are off the diagonal"
    if classes <= most:
        side = 3.5 + 0.28 * classes
        figure, ((axes,),) = panels(side + 1.2, side)
        named_matrix(axes, matrix, answers.vocab)
        axes.set_title(title)
        return figure
    figure, ((left, right),) = panels(13, 6.6, 1, 2)
    truth, answer = np.nonzero(matrix * ~np.eye(classes, dtype=bool))
    left.plot([0, classes - 1], [0, classes - 1], color=GREY, linewidth=0.5)
    times = matrix[truth, answer]
    area = 2 + 60 * times / max(times.max(initial=0), 10)  # points
    left.scatter(answer, truth, s=area, color=RED, alpha=0.6, linewidth=0)
    left.set(title=title, xlabel="answer, labels by name", ylabel="truth, labels by name")
    left.set(xlim=(-1, classes), ylim=(classes, -1), aspect="equal")
    if not wrong:
        right.set_axis_off()
        return figure
    pairs = confused(answers, classes)
    chosen = list(dict.fromkeys(pairs[["is a", "was called"]].to_numpy().ravel()))[:most]
    chosen = [answers.vocab.index(label) for label in sorted(chosen)]
    named_matrix(right, matrix[np.ix_(chosen, chosen)], [answers.vocab[place] for place in chosen])
    right.set_title(f"The {len(chosen)} labels most often confused")
    return figure


def named_matrix(axes: Axes, matrix: np.ndarray, labels: list[str]) -> None:
    """Draw a confusion matrix with labels, coloured by the share of the row.

    The numbers are photos or, of a hundred and more, per cent of the row.
    """
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    few = matrix.max() < 100
    for (row, column), count in np.ndenumerate(matrix if few else (100 * shares).round()):
        if count:
            colour = "black" if shares[row, column] > 0.6 else "white"
            axes.text(column, row, f"{count:.0f}", ha="center", va="center", color=colour, size=8)
    size = 10 if len(labels) <= 12 else 8
    axes.set_xticks(range(len(labels)), labels, rotation=90, size=size)
    axes.set_yticks(range(len(labels)), labels, size=size)
    unit = "photos" if few else "% of the row"
    axes.set(xlabel=f"answer (numbers are {unit})", ylabel="truth")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


@styled
def precision_recall(answers: Answers, count: int = 4) -> Figure:
    """Plot precision against recall: of all labels together, and of `count` with the lowest F1."""
    truth = np.zeros(answers.probability.shape, bool)
    truth[np.arange(len(answers.truth)), answers.truth] = True
    figure, ((axes,),) = panels(9, 4.5)
    # a wrong label's smaller probability would only show where precision has long collapsed
    seen = truth | (answers.probability > 1e-3)
    every = precision_recall_curve(truth[seen], answers.probability[seen], drop_intermediate=True)
    micro = average_precision_score(truth[seen], answers.probability[seen])
    lines = [(every, f"all labels: {micro:.2f}", GREY)]
    lowest = worst(per_class(answers, pd.Series(dtype=int)), count).index
    for place, colour in zip(lowest, (RED, ORANGE, GREEN, PURPLE, SKY, BLUE), strict=False):
        of = truth[:, place], answers.probability[:, place]
        name = f"{answers.vocab[place]}: {average_precision_score(*of):.2f}"
        lines.append((precision_recall_curve(*of), name, colour))
    for (precision, recall, _), name, colour in lines:
        width = 3 if colour == GREY else 1.5
        axes.step(100 * recall, 100 * precision, where="post", color=colour, lw=width, label=name)
    axes.set(xlabel="recall, %", ylabel="precision, %", xlim=(0, 101), ylim=(0, 103))
    axes.set_title("Asking for surer answers trades recall for precision")
    figure.legend(title="average precision", loc="outside right upper", alignment="left")
    return figure


@styled
def reliability(answers: Answers, temperature: float) -> Figure:
    """Plot how often answers are right against how sure they are, before and after calibration."""
    figure, ((axes,),) = panels(5.5, 4.6)
    axes.plot([0, 100], [0, 100], color=GREY, linewidth=1)
    right = answers.truth == answers.answer
    logits = np.log(np.maximum(answers.probability, np.finfo(np.float32).tiny))
    for name, divisor, colour in (("before", 1.0, ORANGE), ("after", temperature, BLUE)):
        sure = softmax(logits / divisor, axis=1).max(1)
        table = reliability_table(sure, right)
        error = expected_error(sure, right)
        axes.plot(100 * table["sure"], 100 * table["right"], color=colour, linewidth=1)
        axes.scatter(
            100 * table["sure"],
            100 * table["right"],
            s=10 + 300 * table["n"] / len(right),
            color=colour,
            label=f"{name}, temperature {divisor:.2f}: ECE {error:.3f}",
        )
    axes.set(xlabel="how sure, %", ylabel="answers that are right, %", xlim=(0, 101), ylim=(0, 103))
    axes.set_title("Sure means right, where the points lie on the line")
    axes.legend(loc="lower right")
    return figure
