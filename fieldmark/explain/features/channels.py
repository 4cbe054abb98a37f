"""Which channels and labels are visualised, and the photos that excite them most."""

from dataclasses import dataclass

import numpy as np

from fieldmark.explain.explained_run import ExplainedRun
from fieldmark.explain.features.objectives import Objective, channel, diversity, neuron, total
from fieldmark.explain.features.samples import Sample

FACETS = 4  # diverse images of a channel
DIVERSITY = 4.0  # weight, in standard deviations of the channel


@dataclass(frozen=True)
class Channel:
    """A channel of a stage."""

    stage: str
    index: int


def choose_stages(names: list[str], depths: int) -> list[str]:
    """Return stages evenly spread over the depth of a network, the last included."""
    places = np.linspace(0, len(names) - 1, min(depths, len(names))).round().astype(int)
    return [names[place] for place in places]


def choose_channels(sample: Sample, depths: int = 4, count: int = 4) -> list[Channel]:
    """Return selective channels of several stages, which few photos excite far above the others.

    They are those with the highest skewness of their mean over photos, among the quarter of
    channels whose mean varies most: others are never really excited.
    """
    chosen = []
    for stage in choose_stages(list(sample.means), depths):
        means = sample.means[stage]
        centred = means - means.mean(0)
        skewness = (centred**3).mean(0) / means.std(0).clip(1e-9) ** 3
        varied = np.argsort(-means.std(0), kind="stable")[: max(count, means.shape[1] // 4)]
        order = varied[np.argsort(-skewness[varied], kind="stable")]
        chosen += [Channel(stage, int(index)) for index in order[:count]]
    return chosen


def exciting_photos(sample: Sample, chosen: Channel, count: int = 1) -> np.ndarray:
    """Return the photos with the highest mean of a channel, uint8 [count, S, S, 3]."""
    order = np.argsort(-sample.means[chosen.stage][:, chosen.index], kind="stable")
    return sample.pixels[order[:count]]


def scaled(objective: Objective, chosen: Channel, sample: Sample) -> Objective:
    """Return an objective of a channel in units of its standard deviation on photos."""
    return (1 / float(sample.deviations[chosen.stage][chosen.index])) * objective


def channels_objective(chosen: list[Channel], sample: Sample) -> Objective:
    """Return the objective of a batch of one image for each channel."""
    return total(
        [
            scaled(channel(each.stage, each.index, image), each, sample)
            for image, each in enumerate(chosen)
        ]
    )


def facets_objective(chosen: list[Channel], sample: Sample) -> Objective:
    """Return the objective of a batch: of each channel, three kinds of images.

    They are the image of its neuron in the middle, of the channel, and FACETS diverse images.
    """
    parts = []
    for number, each in enumerate(chosen):
        first = number * (2 + FACETS)
        images = range(first + 1, first + 2 + FACETS)
        parts.append(scaled(neuron(each.stage, each.index, first), each, sample))
        parts += [scaled(channel(each.stage, each.index, image), each, sample) for image in images]
        parts.append(DIVERSITY * diversity(each.stage, images[1:]))
    return total(parts)


def choose_labels(explained: ExplainedRun, count: int = 4) -> list[int]:
    """Return labels with photos in `train`: pairs most confused on `valid`, then most frequent."""
    valid, train = (explained.predictions.of_split(name) for name in ("valid", "train"))
    size = len(explained.labels)
    photos = np.bincount(train.truth[train.truth >= 0], minlength=size)
    confused = np.zeros((size, size), int)
    wrong = (valid.truth >= 0) & ~valid.correct
    np.add.at(confused, (valid.truth[wrong], valid.predicted[wrong]), 1)
    order = np.argsort(-confused, axis=None, kind="stable")[: (confused > 0).sum()]
    pairs = np.stack(np.unravel_index(order, confused.shape), 1)
    labels = [*pairs.ravel().tolist(), *np.argsort(-photos, kind="stable").tolist()]
    return [label for label in dict.fromkeys(labels) if photos[label]][:count]


def find_rival(explained: ExplainedRun, label: int) -> int:
    """Return the label that is most probable, after its own, on a label's photos of `train`."""
    train = explained.predictions.of_split("train")
    probability = train.probability[train.truth == label].mean(0)
    probability[label] = -1
    return int(probability.argmax())


def typical_photo(explained: ExplainedRun, label: int) -> np.ndarray:
    """Return the photo of `train` with the highest probability of its label, uint8 [S, S, 3]."""
    train = explained.predictions.of_split("train")
    rows = np.flatnonzero(train.truth == label)
    best = rows[train.probability[rows, label].argmax()]
    return explained.prepare([train.paths[best]])[0]
