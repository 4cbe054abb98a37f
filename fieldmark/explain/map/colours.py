"""Colours of a map's points, and the entries of its legends."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import hsv_to_rgb, to_hex

from fieldmark.plotting import BLUE, GREY, ORANGE, RED

NO_FAMILY = "family unknown"
STRIDE = 0.38196601125  # of the hues of families that follow by name: the golden angle
ANSWERS = {"right": BLUE, "wrong": RED}
SPLITS = {"train": GREY, "valid": ORANGE, "calibration": BLUE}


def choose_hues(count: int) -> np.ndarray:
    """Return `count` different hues between 0 and 1, of which neighbours differ."""
    ranks = np.argsort(np.argsort(np.arange(count) * STRIDE % 1))
    return ranks / max(count, 1)


def colour_species(labels: Sequence[str], families: Sequence[str]) -> dict[str, str]:
    """Return a colour of each species: families differ in hue, their species in brightness.

    Without families each species has its own hue.
    """
    groups = list(labels) if len(set(families)) < 2 else list(families)
    names = sorted(set(groups))
    hues = dict(zip(names, choose_hues(len(names)), strict=True))
    colours = {}
    for group in names:
        species = sorted(label for label, of in zip(labels, groups, strict=True) if of == group)
        for label, value in zip(species, np.linspace(0.95, 0.5, len(species)), strict=True):
            colours[label] = to_hex(hsv_to_rgb((hues[group], 0.85, value)))
    return colours


def colour_families(families: Sequence[str]) -> dict[str, str]:
    """Return a colour of each family, the hue of its species."""
    names = sorted(set(families))
    hues = choose_hues(len(names))
    pairs = zip(names, hues, strict=True)
    return {name: to_hex(hsv_to_rgb((hue, 0.85, 0.8))) for name, hue in pairs}


def list_legends(points: pd.DataFrame, colours: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Return the legend of each colouring: groups with a `title` and `items`.

    `points` has the columns `species`, `family` and those of `colours`; an item holds the `name`,
    `colour` and `n` photos. Species are grouped by family, if there are several.
    """
    legends = {}
    for column, palette in colours.items():
        counts = points[column].value_counts()
        grouped = column == "species" and points["family"].nunique() > 1
        titles = points.groupby(column)["family"].first() if grouped else {}
        groups: dict[str, list] = {}
        for name in filter(counts.__contains__, palette):
            item = {"name": name, "colour": palette[name], "n": int(counts[name])}
            groups.setdefault(titles.get(name, ""), []).append(item)
        legends[column] = [{"title": key, "items": groups[key]} for key in sorted(groups)]
    return legends
