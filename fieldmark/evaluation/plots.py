"""Figures of predictions: confusion, precision against recall, reliability."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_curve

from fieldmark.evaluation.calibration import expected_calibration_error, reliability_table
from fieldmark.evaluation.per_class import most_confused, per_class_metrics, worst_classes
from fieldmark.evaluation.predictions import Predictions
from fieldmark.plotting import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, create_axes, styled


@styled
def plot_confusion(predictions: Predictions, max_named: int = 25) -> Figure:
    """Plot the confusion matrix.

    Over `max_named` labels: all errors as points, and the matrix of the labels most confused.
    """
    labels, classes = predictions.labels, len(predictions.labels)
    matrix = confusion_matrix(predictions.truth, predictions.predicted, labels=range(classes))
    errors = int((~predictions.correct).sum())
    title = f"{errors:,} of {len(predictions):,} photos are off the diagonal"
    if classes <= max_named:
        side = 3.5 + 0.28 * classes
        figure, ((axes,),) = create_axes(side + 1.2, side)
        draw_matrix(axes, matrix, labels)
        axes.set_title(title)
        return figure
    figure, ((left, right),) = create_axes(13, 6.6, 1, 2)
    truth, predicted = np.nonzero(matrix * ~np.eye(classes, dtype=bool))
    left.plot([0, classes - 1], [0, classes - 1], color=GREY, linewidth=0.5)
    times = matrix[truth, predicted]
    area = 2 + 60 * times / max(times.max(initial=0), 10)  # points
    left.scatter(predicted, truth, s=area, color=RED, alpha=0.6, linewidth=0)
    left.set(title=title, xlabel="predicted label, by name", ylabel="true label, by name")
    left.set(xlim=(-1, classes), ylim=(classes, -1), aspect="equal")
    if not errors:
        right.set_axis_off()
        return figure
    pairs = most_confused(predictions, classes)[["label", "predicted"]].to_numpy().ravel()
    rows = [labels.index(label) for label in sorted(list(dict.fromkeys(pairs))[:max_named])]
    draw_matrix(right, matrix[np.ix_(rows, rows)], [labels[row] for row in rows])
    right.set_title(f"The {len(rows)} labels most often confused")
    return figure


def draw_matrix(axes: Axes, matrix: np.ndarray, labels: list[str]) -> None:
    """Draw a confusion matrix with named labels, coloured by the proportion of the row.

    The numbers are photos, or percentages of the row if one is over 99.
    """
    proportions = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(proportions, cmap="cividis", vmin=0, vmax=1)
    as_counts = matrix.max() < 100
    numbers = matrix if as_counts else (100 * proportions).round()
    for (row, column), number in np.ndenumerate(numbers):
        if number:
            colour = "black" if proportions[row, column] > 0.6 else "white"
            axes.text(column, row, f"{number:.0f}", ha="center", va="center", color=colour, size=8)
    size = 10 if len(labels) <= 12 else 8
    axes.set_xticks(range(len(labels)), labels, rotation=90, size=size)
    axes.set_yticks(range(len(labels)), labels, size=size)
    unit = "photos" if as_counts else "% of the row"
    axes.set(xlabel=f"predicted label (numbers are {unit})", ylabel="true label")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


@styled
def plot_precision_recall(predictions: Predictions, count: int = 4) -> Figure:
    """Plot precision against recall: all labels together, and `count` with the lowest F1."""
    truth = np.zeros(predictions.probability.shape, bool)
    truth[np.arange(len(predictions)), predictions.truth] = True
    figure, ((axes,),) = create_axes(9, 4.5)
    # smaller probabilities of wrong labels only matter where precision is near 0
    shown = truth | (predictions.probability > 1e-3)
    flat = truth[shown], predictions.probability[shown]
    curve = precision_recall_curve(*flat, drop_intermediate=True)
    lines = [(curve, f"all labels: {average_precision_score(*flat):.2f}", GREY)]
    lowest = worst_classes(per_class_metrics(predictions), count).index
    for label, colour in zip(lowest, (RED, ORANGE, GREEN, PURPLE, SKY, BLUE), strict=False):
        column = truth[:, label], predictions.probability[:, label]
        name = f"{predictions.labels[label]}: {average_precision_score(*column):.2f}"
        lines.append((precision_recall_curve(*column), name, colour))
    for (precision, recall, _), name, colour in lines:
        width = 3 if colour == GREY else 1.5
        axes.step(100 * recall, 100 * precision, where="post", color=colour, lw=width, label=name)
    axes.set(xlabel="recall, %", ylabel="precision, %", xlim=(0, 101), ylim=(0, 103))
    axes.set_title("Precision and recall at every probability threshold")
    figure.legend(title="average precision", loc="outside right upper", alignment="left")
    return figure


@styled
def plot_reliability(predictions: Predictions, temperature: float) -> Figure:
    """Plot accuracy against confidence, before and after calibration by a temperature."""
    figure, ((axes,),) = create_axes(5.5, 4.6)
    axes.plot([0, 100], [0, 100], color=GREY, linewidth=1)
    for name, divisor, colour in (("before", 1.0, ORANGE), ("after", temperature, BLUE)):
        confidence = predictions.scaled(divisor).confidence
        table = reliability_table(confidence, predictions.correct)
        error = expected_calibration_error(confidence, predictions.correct)
        points = 100 * table["confidence"], 100 * table["accuracy"]
        axes.plot(*points, color=colour, linewidth=1)
        area = 10 + 300 * table["n"] / len(predictions)
        label = f"{name}, temperature {divisor:.2f}: ECE {error:.3f}"
        axes.scatter(*points, s=area, color=colour, label=label)
    axes.set(xlabel="confidence, %", ylabel="accuracy, %", xlim=(0, 101), ylim=(0, 103))
    axes.set_title("Calibrated where points lie on the line")
    axes.legend(loc="lower right")
    return figure
