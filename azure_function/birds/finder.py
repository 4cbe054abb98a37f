"""Find birds in a photo: boxes with scores, by a model file of its own, the finder."""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from . import drawn, model_file, process
from .crops import Box, overlap
from .model_file import EXPORT_AGAIN, ModelError
from .photo import FINDER_MIN_SIDE, FINDER_STRIDE, DecodedPhoto
from .sessions import Session, check_recorded, load_errors, load_sessions

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


class Finder:
    """A finder's model file in memory; threads may share it.

    `card` is its card, `version` its name and version, `sha256` that of the file. `size` is the
    longer side of its input in pixels, `filter` the resampling filter, `threshold` the lowest score
    of a box. `threads` are as for Classifier.
    Raises ModelError for a file that is missing, incompatible, damaged, or whose outputs differ
    from those that its card records.
    """

    def __init__(self, path: Path | str, threads: int | None = None):
        path = Path(path)
        with load_errors(path):
            sessions = load_sessions(path, threads or process.cpu_count())
            self.session, self.single_thread_session = sessions
            check_graph(self.session, path.name)
            self.card = read_card(self.session.get_modelmeta().custom_metadata_map, path.name)
            self.version = {"name": self.card["name"], "version": self.card["version"]}
            self.size, self.threshold = self.card["size"], self.card["threshold"]
            self.filter = self.card["preparation"]["filter"]
            outputs = [self.predict(drawn_input(), single) for single in (False, True)]
            computed = {
                name: np.concatenate([output[i] for output in outputs])
                for i, name in enumerate(OUTPUTS)
            }
            check_recorded(computed, self.card["drawn_photo"], TOLERANCES)
            with path.open("rb") as file:
                self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()

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
        """Return the boxes of different birds in a photo, best first.

        The photo was decoded for this finder: `decode_upright` with its size and filter.
        """
        pixels = decoded.finder_pixels
        if pixels is None:
            raise ValueError("This photo was decoded without a finder's size.")
        score, box = self.predict(pixels[None], single_thread)
        scale = decoded.width / pixels.shape[1], decoded.height / pixels.shape[0]
        return select_boxes(score[0], box[0] * (scale + scale), self.threshold, decoded)


def default_finder(model: Path) -> Path | None:
    """Return the finder's file beside a model file, else the shipped one, None without any."""
    files = (model.with_name(SHIPPED_FINDER.name), SHIPPED_FINDER)
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

    `score` is [h, w], `box` [h, w, 4]: left, top, right and bottom in pixels of the photo.
    """
    rows, columns = np.nonzero(score >= threshold)
    order = np.argsort(-score[rows, columns], kind="stable")[:CANDIDATES]
    sides = box[rows[order], columns[order]].clip(0, [photo.width, photo.height] * 2)
    boxes: list[Box] = []
    for (left, top, right, bottom), value in zip(
        sides.tolist(), score[rows[order], columns[order]].tolist(), strict=True
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
    if not FINDER_MIN_SIDE <= card["size"] <= 32 * FINDER_STRIDE:
        raise ModelError(f"The card of {name} has no valid `size`. {EXPORT_AGAIN}")
    if str(card["preparation"].get("filter")).upper() not in Image.Resampling.__members__:
        raise ModelError(f"The card of {name} has no valid resampling `filter`. {EXPORT_AGAIN}")
    return card
