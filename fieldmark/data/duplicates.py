"""Find photos that are copies of each other, exact or changed in quality, size or light."""

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fieldmark.data.survey import HASH_SIZE

MAX_DISTANCE = 20  # bits of 256; changed copies differ by 16 at most


def find_duplicates(survey: pd.DataFrame, distance: int = MAX_DISTANCE) -> pd.DataFrame:
    """Pair copies of the same photo: `first`, `second` and the `distance` of their hashes in bits.

    Files of the same bytes are each paired with the first of them, at distance 0. Two hashes within
    2n + 1 bits of each other differ by at most one bit in at least one of n + 1 bands, so only
    those are compared instead of all pairs. Mirrored or more tightly cropped copies, and changed
    copies of plain pictures, are not found.
    """
    readable = survey.dropna(subset="sha256")
    original = readable.groupby("sha256")["path"].transform("first")
    is_copy = original != readable["path"]
    copies = pd.DataFrame({"first": original, "second": readable["path"], "distance": 0})
    hashed = readable[~is_copy].dropna(subset="hash")
    digits = "".join(hashed["hash"])
    hashes = np.frombuffer(bytes.fromhex(digits), np.uint8).reshape(len(hashed), HASH_SIZE**2 // 8)
    bits, paths = np.unpackbits(hashes, axis=1), hashed["path"].to_numpy()
    bands = max(distance // 2 + 1, 5)  # at most 52 bits each
    tables = [copies[is_copy]]
    for band in range(bands):
        a, b = pair_similar_rows(bits[:, band::bands])  # neighbouring bits are correlated
        apart = np.bitwise_count(hashes[a] ^ hashes[b]).sum(axis=1)
        pairs = pd.DataFrame({"first": paths[a], "second": paths[b], "distance": apart})
        tables.append(pairs[apart <= distance])
    pairs = pd.concat(tables).astype({"distance": int})
    return pairs.drop_duplicates(["first", "second"], ignore_index=True)


def pair_similar_rows(bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return all pairs of rows [n, bits] that differ by at most one bit, as two index arrays."""
    values = 1 << np.arange(bits.shape[1], dtype=np.int64)
    keys = bits @ values
    flipped = (keys[:, None] ^ np.append(values, 0)).ravel()
    rows = pd.DataFrame({"key": keys, "row": np.arange(len(keys))})
    candidates = pd.DataFrame({"key": flipped, "row": np.arange(len(flipped)) // (len(values) + 1)})
    pairs = rows.merge(candidates, on="key").query("row_x < row_y")
    return pairs["row_x"].to_numpy(), pairs["row_y"].to_numpy()


def group_photos(photos: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """Return the group of each photo, named by its first path.

    Photos are in one group if a chain of `pairs` or of the column `group` connects them.
    """
    number = pd.Series(range(len(photos)), photos["path"])
    a, b = number[pairs["first"]].to_numpy(), number[pairs["second"]].to_numpy()
    if "group" in photos:
        first = photos.groupby("group")["path"].transform("first").fillna(photos["path"])
        a, b = np.concatenate([a, number[first]]), np.concatenate([b, number])
    edges = coo_array((np.ones(len(a)), (a, b)), shape=(len(photos), len(photos)))
    _, component = connected_components(edges, directed=False)
    return photos.groupby(component)["path"].transform("first")
