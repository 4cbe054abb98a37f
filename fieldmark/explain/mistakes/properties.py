"""Properties of photos that can be computed, and the sub-class where it is known."""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import laplace

from fieldmark.data.subclasses import SUBCLASS
from fieldmark.evaluation.predictions import Predictions
from fieldmark.explain.explained_run import ExplainedRun

LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue (ITU-R BT.601)
CHUNK = 64  # photos prepared at once


def measure_properties(explained: ExplainedRun, paths: list[str]) -> pd.DataFrame:
    """Return properties of photos as the network sees them, a row each.

    Columns: `brightness` (mean luma, 0 to 255), `contrast` (its standard deviation), `sharpness`
    (the variance of its Laplacian), `file size, kB`.
    """
    starts = range(0, len(paths), CHUNK)
    chunks = [explained.prepare(paths[start : start + CHUNK]) for start in starts]
    rows = [measure_pixels(pixels) for chunk in chunks for pixels in chunk]
    table = pd.DataFrame(rows, columns=["brightness", "contrast", "sharpness"])
    sizes = [file_size(explained.folder / path) for path in paths]
    return table.assign(**{"file size, kB": sizes})


def measure_pixels(pixels: np.ndarray) -> tuple[float, float, float]:
    """Return brightness, contrast and sharpness of a photo, uint8 [S, S, 3]."""
    luma = pixels @ np.array(LUMA)
    return luma.mean(), luma.std(), laplace(luma).var()


def file_size(file: Path) -> float:
    """Return the size of a file in kB."""
    return file.stat().st_size / 1000


def list_subclasses(predictions: Predictions) -> pd.DataFrame:
    """Return the column `sub-class` of photos, and no column if the run has none.

    `Mallard (female)` is listed as `female`, so that species are counted together; photos without
    a sub-class are missing.
    """
    names = predictions.table.get("subclass")
    if names is None:
        return pd.DataFrame(index=range(len(predictions)))
    matches = [SUBCLASS.fullmatch(name) for name in names]
    plumages = [match["plumage"] if match else None for match in matches]
    return pd.DataFrame({"sub-class": np.array(plumages, object)})


def collect_facts(explained: ExplainedRun, known: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return what is known and computed of the calibration photos, a row each.

    `known` are facts of all photos of the run, as `load_facts` returns them. They go before
    computed properties of the same name.
    """
    held_out = explained.held_out
    tables = [list_subclasses(held_out), measure_properties(explained, held_out.paths)]
    if known is not None:
        judges = (explained.photos["split"] == "calibration").to_numpy()
        tables.insert(0, known[judges].reset_index(drop=True))
    table = pd.concat(tables, axis=1)
    return table.loc[:, ~table.columns.duplicated()]
