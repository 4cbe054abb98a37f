"""Everything that explains one pair of species: photos, evidence and field marks."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from fieldmark.explain.explained_run import ExplainedRun
from fieldmark.explain.mistakes.field_marks import Occlusions, count_flips, occlude, served_logits
from fieldmark.explain.mistakes.pair_photos import PairPhotos, choose_pair_photos
from fieldmark.explain.mistakes.positions import describe_positions

OCCLUDED = 8  # photos of each species: each takes a CPU over a second


class Side(NamedTuple):
    """One species of a pair: its photos, and those over which patches were slid.

    `pixels` are the latter, uint8 [n, S, S, 3], of `paths`; `held_out` of them are no photos of
    training. `faces` [n] is `left` or `right` where the beak is known to point there.
    """

    name: str
    other: str
    photos: PairPhotos
    paths: list[str]
    pixels: np.ndarray
    held_out: int
    faces: list[str | None]
    occlusions: Occlusions


def explain_pair(
    explained: ExplainedRun,
    names: Sequence[str],
    facts: pd.DataFrame | None = None,
    count: int = OCCLUDED,
    seed: int = 0,
) -> list[Side]:
    """Explain the pair of the two labels `names`: each against the other.

    Patches are slid over `count` photos of each that the network names correctly: random held-out
    ones first. `facts` may have a column `facing`, with a row for each photo of the run.
    """
    first, second = (explained.labels.index(name) for name in names)
    return [
        explain_side(explained, label, other, facts, count, seed)
        for label, other in ((first, second), (second, first))
    ]


def explain_side(
    explained: ExplainedRun,
    label: int,
    other: int,
    facts: pd.DataFrame | None,
    count: int,
    seed: int,
) -> Side:
    """Explain why photos of `label` are not named `other`, and what would make them so."""
    predictions = explained.predictions
    rows = np.flatnonzero((predictions.truth == label) & predictions.correct)
    rows = np.random.default_rng(seed).permutation(rows)
    trained = predictions.splits[rows] == "train"
    rows = rows[np.argsort(trained, kind="stable")][:count]
    paths = predictions.select(rows).paths
    size = explained.network.preparation.size
    pixels = explained.prepare(paths) if paths else np.zeros((0, size, size, 3), np.uint8)
    faces: list[str | None] = [None] * len(rows)
    if facts is not None and "facing" in facts:
        faces = [face if face in ("left", "right") else None for face in facts["facing"].iloc[rows]]
    return Side(
        explained.labels[label],
        explained.labels[other],
        choose_pair_photos(explained, label, other),
        paths,
        pixels,
        int((predictions.splits[rows] != "train").sum()),
        faces,
        occlude(served_logits(explained.classifier), pixels, label, other),
    )


def list_field_marks(sides: Sequence[Side]) -> pd.DataFrame:
    """List how many photos patches of each size flip, for each species of pairs."""
    tables = [
        count_flips(side.occlusions).assign(label=side.name, other=side.other)
        for side in sides
        if side.paths
    ]
    if not tables:
        return pd.DataFrame(columns=["label", "other"])
    table = pd.concat(tables, ignore_index=True)
    return table[["label", "other", *table.columns[:-2]]]


def describe_side(side: Side) -> str:
    """Return what covering one patch does to photos of a species, in a sentence or two."""
    name, other, n = side.name, side.other, len(side.paths)
    if not n:
        return f"No photo of {name} is named correctly, so there is none to cover."
    counts = count_flips(side.occlusions)
    judges = f"{side.held_out} of the {n} photos are held out, the others are of training."
    if side.held_out == n:
        judges = f"All {n} photos are held out."
    enough = counts[counts["flipped"] * 2 >= n]
    row = (enough if len(enough) else counts.tail(1)).iloc[0]
    flipped, area = int(row["flipped"]), f"{100 * row['area']:.0f} % of the area"
    if not flipped:
        return f"No patch of up to {area} turns any of {n} photos of {name} into {other}. {judges}"
    patches = [side.occlusions.find_patch(number) for number in range(n)]
    largest = np.sqrt(row["area"]) * side.occlusions.size + 0.5
    found = [
        (patch, face)
        for patch, face in zip(patches, side.faces, strict=True)
        if patch and patch.side <= largest
    ]
    confirmed = sum(side.occlusions.confirmed)
    flipping = sum(patch is not None for patch in patches)
    return (
        f"Covering one patch of at most {area} turns {flipped} of {n} photos of {name} into "
        f"{other} (95 % interval {100 * row['low']:.0f} to {100 * row['high']:.0f} %), at "
        f"{100 * row['positions']:.1f} % of all places tried. "
        f"{describe_positions(found, side.occlusions.size)} {judges} Filled with the mean colour "
        f"instead of the blurred photo, {confirmed} of {flipping} such patches still do."
    )
