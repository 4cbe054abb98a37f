"""Find photos that are the same photo, in other bytes or the same."""

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fieldmark.data.survey import HASH_SIZE

NEAR = 20  # bits of 256: a copy in other quality, size, light or grey differs by 16 at most


def near(survey: pd.DataFrame, distance: int = NEAR) -> pd.DataFrame:
    """Pair photos that are the same: `one`, `other` and the `distance` of their hashes in bits.

    Files of the same bytes are each paired with the first of them, at distance 0. Hashes within
    2n + 1 bits of each other are within one bit in one of n + 1 bands of them at least, so only
    such are compared, not all with all. Mirrored or tighter cropped copies, and copies of plain
    pictures in other bytes, are not found.
    """
    known = survey.dropna(subset="sha256")
    first = known.groupby("sha256")["path"].transform("first")
    copies = pd.DataFrame({"one": first, "other": known["path"], "distance": 0})
    hashed = known[first == known["path"]].dropna(subset="hash")
    digits = "".join(hashed["hash"])
    hashes = np.frombuffer(bytes.fromhex(digits), np.uint8).reshape(len(hashed), HASH_SIZE**2 // 8)
    bits, paths = np.unpackbits(hashes, axis=1), hashed["path"].to_numpy()
    bands = max(distance // 2 + 1, 5)  # of 52 bits at most
    found = [copies[first != known["path"]]]
    for band in range(bands):
        a, b = alike(bits[:, band::bands])  # neighbouring bits tell too much alike
        apart = np.bitwise_count(hashes[a] ^ hashes[b]).sum(axis=1)
        pairs = pd.DataFrame({"one": paths[a], "other": paths[b], "distance": apart})
        found.append(pairs[apart <= distance])
    pairs = pd.concat(found).astype({"distance": int})
    return pairs.drop_duplicates(["one", "other"], ignore_index=True)


def alike(bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return all pairs of rows that differ in one bit or none, as two arrays, the smaller first."""
    values = 1 << np.arange(bits.shape[1], dtype=np.int64)
    keys = bits @ values
    flipped = (keys[:, None] ^ np.append(values, 0)).ravel()
    rows = pd.DataFrame({"key": keys, "row": np.arange(len(keys))})
    others = pd.DataFrame({"key": flipped, "row": np.arange(len(flipped)) // (len(values) + 1)})
    pairs = rows.merge(others, on="key").query("row_x < row_y")
    return pairs["row_x"].to_numpy(), pairs["row_y"].to_numpy()


def together(photos: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """Name the group of each photo by the path of its first: all that pairs or `group` connect."""
    number = pd.Series(range(len(photos)), photos["path"])
    one, other = number[pairs["one"]].to_numpy(), number[pairs["other"]].to_numpy()
    if "group" in photos:
        first = photos.groupby("group")["path"].transform("first").fillna(photos["path"])
        one = np.concatenate([one, number[first]])
        other = np.concatenate([other, number])
    edges = coo_array((np.ones(len(one)), (one, other)), shape=(len(photos), len(photos)))
    _, component = connected_components(edges, directed=False)
    return photos.groupby(component)["path"].transform("first")
