"""Where in the photo the patches lie that turn one species into another."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from fieldmark.explain.mistakes.patches import Patch

HEIGHTS, WIDTHS = ("the upper", "the middle", "the lower"), ("left", "middle", "right")
ALONG = ("the tail's", "the middle", "the beak's")
THIRDS = 3


def name_thirds(patch: Patch, size: int) -> tuple[str, str]:
    """Return in which third of the height and of the width the middle of a patch lies."""
    x, y = (min(int(THIRDS * place / size), THIRDS - 1) for place in patch.centre)
    return HEIGHTS[y], WIDTHS[x]


def mirror(patch: Patch, size: int) -> Patch:
    """Return where a patch lies in the mirrored photo."""
    return patch._replace(left=size - patch.left - patch.side)


def describe_positions(found: Sequence[tuple[Patch, str | None]], size: int) -> str:
    """Say where patches lie, each with where the beak points (`left`, `right`), if known.

    Left and right of a photo mean nothing for a bird that may face either way: the width is
    described only if all beaks are known, as the side of the beak or of the tail.
    """
    height = describe_majority([name_thirds(patch, size)[0] for patch, _ in found])
    if height and len(found) == 1:
        sentence = f"Its middle lies in {height[0]} third"
    elif height:
        sentence = (
            f"The middle of {height[1]} of these {len(found)} patches lies in {height[0]} third"
        )
    else:
        sentence = "The patches lie at different heights"
    if all(face for _, face in found):
        turned = [mirror(patch, size) if face == "left" else patch for patch, face in found]
        along = [ALONG[WIDTHS.index(name_thirds(patch, size)[1])] for patch in turned]
        if width := describe_majority(along):
            sentence += f". That of {width[1]} lies in {width[0]} third of the width"
    return f"{sentence}."


def describe_majority(names: Sequence[str]) -> tuple[str, int] | None:
    """Return the name that more than half are, and how many; None if there is none."""
    name, times = Counter(names).most_common(1)[0]
    return (name, times) if 2 * times > len(names) else None


def average_turned(maps: Sequence[np.ndarray], faces: Sequence[str | None]) -> np.ndarray:
    """Return the mean of maps [S, S], mirrored so that all beaks point right if all are known."""
    all_known = all(faces)
    turned = [
        values[:, ::-1] if all_known and face == "left" else values
        for values, face in zip(maps, faces, strict=True)
    ]
    return np.mean(turned, 0)
