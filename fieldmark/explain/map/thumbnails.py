"""Small versions of a run's photos, as pixels and as what a page embeds."""

import base64
import io

import numpy as np
from PIL import Image

from fieldmark.data.parallel import map_threads
from fieldmark.explain.explained_run import ExplainedRun

SIDE = 64
QUALITY = 70


def make_thumbnails(explained: ExplainedRun, rows: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Return photos of a run as the network sees them, uint8 [m, side, side, 3]."""

    def shrink(path: str) -> np.ndarray:
        seen = Image.fromarray(explained.prepare_photo(path))
        return np.asarray(seen.resize((side, side), Image.Resampling.LANCZOS))

    return np.stack(map_threads(shrink, list(explained.photos["path"].iloc[rows])))


def encode(pixels: np.ndarray) -> str:
    """Return the data URL of a JPEG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
