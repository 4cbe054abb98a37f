"""Where in the photo the patches lie that turn one species into another."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from fieldmark.explain.mistakes.patches import Patch

HEIGHTS, WIDTHS = ("upper", "middle", "lower"), ("left", "middle", "right")
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
    height, times = Counter(name_thirds(patch, size)[0] for patch, _ in found).most_common(1)[0]
    which = f"of {times} of these {len(found)} patches" if len(found) > 1 else "of this patch"
    sentence = f"The middle {which} lies in the {height} third"
    if all(face for _, face in found):
        turned = [mirror(patch, size) if face == "left" else patch for patch, face in found]
        thirds = Counter(ALONG[WIDTHS.index(name_thirds(patch, size)[1])] for patch in turned)
        along, times = thirds.most_common(1)[0]
        sentence += f", and {times} in {along} third of the width"
    return f"{sentence}."


def average_turned(maps: Sequence[np.ndarray], faces: Sequence[str | None]) -> np.ndarray:
    """Return the mean of maps [S, S], mirrored so that all beaks point right if all are known."""
    known = all(faces)
    turned = [
        each[:, ::-1] if known and face == "left" else each
        for each, face in zip(maps, faces, strict=True)
    ]
    return np.mean(turned, 0)
