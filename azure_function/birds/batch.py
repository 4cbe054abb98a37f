"""Classify many photo files, as `fieldmark predict` does; a broken photo is a row with an error."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import photo
from .errors import UserError
from .identifier import AUTO, Identifier, Where
from .photo import PhotoError
from .prediction import Options, classify_photo
from .process import cpu_count
from .workers.decoder import Decoder, job_decoder

COLUMNS = (  # of a row that are plain values, in the order of a table
    *("path", "kind", "label", "common_name", "scientific_name", "probability"),
    *("shortlist", "unknown_score", "text", "crop", "crop_from", "error"),
)


def find_photos(paths: Iterable[Path | str]) -> Iterator[Path]:
    """Yield the given files, and the photos in the given folders at any depth, in sorted order.

    Files are yielded whatever their names; in folders, those with a suffix of `photo.SUFFIXES`.
    Raises UserError for a path that does not exist.
    """
    for path in map(Path, paths):
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*") if p.suffix.lower() in photo.SUFFIXES)
        elif path.exists():
            yield path
        else:
            raise UserError(f"{path} does not exist. Give the path of a photo or a folder.")


def classify_files(
    identifier: Identifier,
    paths: Iterable[Path],
    top: int = 5,
    where: Where = AUTO,
    workers: int | None = None,
) -> Iterator[dict]:
    """Yield a row for each photo file, in order; `where` is AUTO or CENTER.

    Each of `workers` threads (default: one more than the CPUs) reads and classifies one photo at a
    time, which worker processes decode, so memory does not grow with the number of photos. A row
    has the keys COLUMNS and `predictions` (the `top` predictions as in the HTTP API). `crop` is a
    text, "left,top,width,height". A photo that cannot be read has `error`, its other values are
    None.
    """
    workers, pending, decoder = workers or cpu_count() + 1, deque(), job_decoder()
    options = Options(top, where=where)
    with ThreadPoolExecutor(workers, "photo") as executor:
        for path in paths:
            pending.append(executor.submit(classify_file, identifier, decoder, path, options))
            if len(pending) == 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def classify_file(identifier: Identifier, decoder: Decoder, path: Path, options: Options) -> dict:
    """Return the row of one photo file; see `classify_files`."""
    row = dict.fromkeys((*COLUMNS, "predictions")) | {"path": str(path)}
    try:
        photo.check_bytes(path.stat().st_size)  # before the file is in memory
        data = path.read_bytes()
        decoded = identifier.prepare_in_worker(decoder, data, options.where).result()
        result = classify_photo(identifier, decoded, options, lambda: True)
    except PhotoError as error:
        return row | {"error": str(error)}
    except OSError as error:
        return row | {"error": f"This file cannot be read: {error.strerror}."}
    answer, predictions = result["answer"], result["predictions"]
    row |= predictions[0] | {"predictions": predictions, "shortlist": "; ".join(answer["labels"])}
    place = result["photo"]
    row |= {"crop": ",".join(map(str, place["crop"])), "crop_from": place["crop_from"]}
    return row | {key: answer[key] for key in ("kind", "unknown_score", "text")}
