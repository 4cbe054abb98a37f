"""What the finder's network should return for a photo with given boxes."""

import numpy as np

from fieldmark.finder.detector import STRIDE

SPREAD = 0.12  # standard deviation of a bird's scores, as a share of its box's sides
MIN_SPREAD = 0.6  # positions
CORE = 0.3  # share of a box's sides within which positions learn the box


def make_target(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the target of a photo of `height` x `width` pixels, float32 [6, h, w].

    `boxes` are left, top, right and bottom in pixels, [n, 4]. The target is a score (1 at each
    bird's centre, less around it), the box of the bird, and the weight with which a position learns
    that box. Where birds overlap, positions learn the smaller one.
    """
    rows, columns = height // STRIDE, width // STRIDE
    target = np.zeros((6, rows, columns), np.float32)
    x, y = np.arange(columns) + 0.5, (np.arange(rows) + 0.5)[:, None]
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    for box in boxes[np.argsort(-areas)]:
        left, top, right, bottom = box / STRIDE
        middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
        centre_x = min(int(middle_x), columns - 1) + 0.5  # of the position that holds the middle
        centre_y = min(int(middle_y), rows - 1) + 0.5
        spread_x, spread_y = (max(MIN_SPREAD, SPREAD * s) for s in (right - left, bottom - top))
        score = np.exp(-(((x - centre_x) / spread_x) ** 2 + ((y - centre_y) / spread_y) ** 2) / 2)
        target[0] = np.maximum(target[0], score)
        reach_x, reach_y = (max(1.0, CORE * s / 2) for s in (right - left, bottom - top))
        core = (abs(x - middle_x) <= reach_x) & (abs(y - middle_y) <= reach_y)
        target[1:5, core] = box[:, None]
        target[5, core] = score[core]
    return target
