"""Find birds in a photo: boxes with scores, by a model file of its own, the finder."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from . import drawn, model_file, process
from .crops import Box, overlap
from .model_file import EXPORT_AGAIN, ModelError
from .photo import FINDER_MIN_SIDE, FINDER_STRIDE, DecodedPhoto, finder_input
from .sessions import (
    Runtime,
    Session,
    check_recorded,
    load_errors,
    load_sessions,
    thread_modes,
)

SHIPPED_FINDER = Path(__file__).parents[1] / "model" / "finder.onnx"
SCHEMA = 1  # of the card
OUTPUTS = {"score": 3, "box": 4}  # and their dimensions
TOLERANCES = {"score": 1e-3, "box": 0.1}  # largest differences from the outputs that a card records
SAME_BIRD = 0.5  # intersection over union above which two boxes are of one bird
MAX_BOXES = 8
CANDIDATES = 100  # best cells of which boxes are made
DRAWN_SIZE = 128, 96  # of the drawn photo whose outputs a card records
REQUIRED = {
    **{"name": str, "version": str, "size": int, "threshold": int | float},
    **{"preparation": dict, "drawn_photo": dict},
}


class FineLook(NamedTuple):
    """When a finder looks at a photo again, and the longer side of its input then, in pixels.

    It does unless a box scores at least `score`, and has at least `share` of the photo's shorter
    side as its longer one: small birds are found, and large ones framed, where pixels are enough.
    """

    size: int
    score: float
    share: float

    def is_needed(self, boxes: Sequence[Box], width: int, height: int) -> bool:
        """Return whether the boxes of a first look, best first, are doubtful."""
        if not boxes or boxes[0].score < self.score:
            return True
        return max(boxes[0].width, boxes[0].height) < self.share * min(width, height)


class Finder:
    """A finder's model file in memory; threads may share it.

    `card` is its card, `version` its name and version, `sha256` that of the file. `size` is the
    longer side of its input in pixels, `filter` the resampling filter, `threshold` the lowest score
    of a box; `fine` is its second look, None if it has only one. `threads` are as for Classifier.
    Raises ModelError for a file that is missing, incompatible, damaged, or whose outputs differ
    from those that its card records.
    """

    def __init__(self, path: Path | str, threads: int | None = None):
        path = Path(path)
        with load_errors(path):
            sessions = load_sessions(path, threads or process.cpu_count())
            check_graph(sessions[0], path.name)
            card = read_card(sessions[0].get_modelmeta().custom_metadata_map, path.name)
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            self.set_up(sessions, card, sha256)

    @classmethod
    def with_runtime(cls, runtime: Runtime, card: dict, sha256: str) -> "Finder":
        """Return a finder with a card of `read_card`, whose graph another runtime computes.

        `sha256` is that of the finder.onnx of which it is a copy. Raises ModelError as for a file.
        """
        finder = cls.__new__(cls)
        finder.set_up((runtime, runtime), card, sha256)
        return finder

    def set_up(self, runtimes: tuple[Runtime, Runtime], card: dict, sha256: str) -> None:
        """Set all attributes, and check the outputs; the second runtime computes with one thread.

        Raises ModelError.
        """
        self.session, self.single_thread_session = runtimes
        self.card, self.sha256 = card, sha256
        self.version = {"name": card["name"], "version": card["version"]}
        self.size, self.threshold = card["size"], card["threshold"]
        self.filter = card["preparation"]["filter"]
        self.fine = FineLook(**card["fine"]) if card.get("fine") else None
        outputs = [self.predict(drawn_input(), single) for single in thread_modes(runtimes)]
        computed = {
            name: np.concatenate([output[i] for output in outputs])
            for i, name in enumerate(OUTPUTS)
        }
        check_recorded(computed, card["drawn_photo"], TOLERANCES)

    def predict(
        self, pixels: np.ndarray, single_thread: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return scores [N, h, w] and boxes [N, h, w, 4] for a finder's input, uint8 [N, H, W, 3].

        Boxes are left, top, right and bottom in pixels of the input. All scores but those of local
        maxima are 0.
        """
        session = self.single_thread_session if single_thread else self.session
        score, box = session.run(list(OUTPUTS), {"photo": pixels})
        return np.asarray(score), np.asarray(box)

    def find(self, decoded: DecodedPhoto, single_thread: bool = False) -> list[Box]:
        """Return the boxes of different birds in a photo, as `find_all` does."""
        return self.find_all([decoded], single_thread)[0]

    def find_all(
        self, photos: Sequence[DecodedPhoto], single_thread: bool = False
    ) -> list[list[Box]]:
        """Return the boxes of different birds in each photo, best first.

        The photos were decoded for this finder: `decode_upright` with its size and filter.
        """
        pixels = [photo.finder_pixels for photo in photos if photo.finder_pixels is not None]
        if len(pixels) < len(photos):
            raise ValueError("This photo was decoded without a finder's size.")
        found = self.look(photos, pixels, single_thread)
        boxes = [
            select_boxes(*each, self.threshold, photo)
            for each, photo in zip(found, photos, strict=True)
        ]
        doubtful = [
            number
            for number, photo in enumerate(photos)
            if self.fine and self.fine.is_needed(boxes[number], photo.width, photo.height)
        ]
        if self.fine and doubtful:
            pixels = [self.fine_pixels(photos[number], self.fine.size) for number in doubtful]
            finer = self.look([photos[number] for number in doubtful], pixels, single_thread)
            for number, fine in zip(doubtful, finer, strict=True):
                score, box = (
                    np.concatenate(both) for both in zip(found[number], fine, strict=True)
                )
                boxes[number] = select_boxes(score, box, self.threshold, photos[number])
        return boxes

    def look(
        self,
        photos: Sequence[DecodedPhoto],
        pixels: Sequence[np.ndarray],
        single_thread: bool = False,
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the scores [n] of all positions in each photo, and their boxes [n, 4].

        `pixels`, uint8 [H, W, 3], are the photos as the finder's input; those of one shape are one
        batch. Boxes are left, top, right and bottom in pixels of the upright photo.
        """
        found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for shape in {each.shape for each in pixels}:
            numbers = [number for number, each in enumerate(pixels) if each.shape == shape]
            batch = np.stack([pixels[number] for number in numbers])
            for number, score, box in zip(
                numbers, *self.predict(batch, single_thread), strict=True
            ):
                scale = photos[number].width / shape[1], photos[number].height / shape[0]
                found[number] = score.reshape(-1), (box * (scale + scale)).reshape(-1, 4)
        return [found[number] for number in range(len(photos))]

    def fine_pixels(self, decoded: DecodedPhoto, size: int) -> np.ndarray:
        """Return the input of a second look, uint8 [H, W, 3], with `size` as its longer side."""
        return finder_input(Image.fromarray(decoded.pixels), size, self.filter)


def default_finder(model: Path) -> Path | None:
    """Return the finder's file beside a model file, else the shipped one, None without any."""
    files = (model.parent / SHIPPED_FINDER.name, SHIPPED_FINDER)
    return next((file for file in files if file.is_file()), None)


def describe_mismatch(card: dict, finder: Finder | None) -> str | None:
    """Return a sentence if a species model's card names another finder, or none; else None."""
    named = card.get("finder")
    if (named or {}).get("sha256") == (finder.sha256 if finder else None):
        return None
    before = f"the finder {named['name']} {named['version']}" if named else "no finder"
    if not finder:
        return (
            f"This model was calibrated with {before}, which is not here: only the middle square "
            "of a photo is classified. Put it beside the model, or set FIELDMARK_FINDER."
        )
    now = f"the finder {finder.version['name']} {finder.version['version']}"
    return (
        f"This model was calibrated with {before}, and runs with {now}: it may call more or fewer "
        "photos unknown than its card says. Use the first, or export the model again."
    )


def select_boxes(
    score: np.ndarray, box: np.ndarray, threshold: float, photo: DecodedPhoto
) -> list[Box]:
    """Return up to MAX_BOXES boxes that do not overlap much, best first, cut at a photo's sides.

    `score` is [n], `box` [n, 4]: left, top, right and bottom in pixels of the photo.
    """
    candidates = np.flatnonzero(score >= threshold)
    order = candidates[np.argsort(-score[candidates], kind="stable")[:CANDIDATES]]
    sides = box[order].clip(0, [photo.width, photo.height] * 2)
    boxes: list[Box] = []
    for (left, top, right, bottom), value in zip(
        sides.tolist(), score[order].tolist(), strict=True
    ):
        found = Box(left, top, right - left, bottom - top, value)
        has_area = found.width >= 1 and found.height >= 1  # which NaN has not
        if not has_area or any(overlap(found, other) > SAME_BIRD for other in boxes):
            continue
        boxes.append(found)
        if len(boxes) == MAX_BOXES:
            break
    return boxes


def drawn_input() -> np.ndarray:
    """Return the finder's input whose outputs a card records, uint8 [1, 96, 128, 3]."""
    return drawn.draw_bird(next(iter(drawn.SPECIES)), 0, *DRAWN_SIZE)[None]


def check_graph(session: Session, name: str) -> None:
    """Raise ModelError for other inputs or outputs than those of `Finder.predict`."""
    inputs = [(node.name, node.type, len(node.shape)) for node in session.get_inputs()]
    outputs = {node.name: (node.type, len(node.shape)) for node in session.get_outputs()}
    expected = {output: ("tensor(float)", number) for output, number in OUTPUTS.items()}
    if inputs != [("photo", "tensor(uint8)", 4)] or not expected.items() <= outputs.items():
        raise ModelError(
            f"{name} is not a finder: its input is not `photo`, uint8 [N, H, W, 3], or its outputs "
            f"are not `score` and `box`, float32. {EXPORT_AGAIN}"
        )


def read_card(metadata: dict[str, str], name: str) -> dict:
    """Parse and check the card in a file's metadata; raise ModelError for one of another kind."""
    card = model_file.parse_card(metadata, name)
    if card.get("kind") != "finder":
        raise ModelError(f"{name} is not a finder, according to its card. {EXPORT_AGAIN}")
    if card.get("schema") != SCHEMA:
        raise ModelError(
            f"The card of {name} has schema {card.get('schema')}, not {SCHEMA}. Update Fieldmark."
        )
    for key, kind in REQUIRED.items():
        if not isinstance(card.get(key), kind):
            raise ModelError(f"The card of {name} has no valid `{key}`. {EXPORT_AGAIN}")
    if not is_side(card["size"]):
        raise ModelError(f"The card of {name} has no valid `size`. {EXPORT_AGAIN}")
    if not 0 < card["threshold"] <= 1:
        raise ModelError(f"The card of {name} has no valid `threshold`. {EXPORT_AGAIN}")
    if (fine := card.get("fine")) and not is_fine_look(fine):
        raise ModelError(f"The card of {name} has no valid `fine`. {EXPORT_AGAIN}")
    if str(card["preparation"].get("filter")).upper() not in Image.Resampling.__members__:
        raise ModelError(f"The card of {name} has no valid resampling `filter`. {EXPORT_AGAIN}")
    return card


def is_fine_look(fine: object) -> bool:
    """Return whether an entry of a card has the fields of a FineLook."""
    if not isinstance(fine, dict) or fine.keys() != set(FineLook._fields):
        return False
    shares = fine["score"], fine["share"]
    return is_side(fine["size"]) and all(isinstance(share, int | float) for share in shares)


def is_side(pixels: object) -> bool:
    """Return whether a number of pixels can be the longer side of a finder's input."""
    return isinstance(pixels, int) and FINDER_MIN_SIDE <= pixels <= 32 * FINDER_STRIDE
