"""Load a model file and classify prepared photos."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import drawn, model_file, photo, process
from .model_file import ModelError
from .sessions import Runtime, check_recorded, load_errors, load_sessions, thread_modes

OUTPUTS = tuple(model_file.OUTPUTS)
TOLERANCE = 1e-3  # largest difference from the outputs that a card records


class Outputs(NamedTuple):
    """The outputs of the graph for N photos, all float32.

    probability [N, C] sums to 1; unknown [N] is an out-of-distribution score (higher: less
    familiar); heatmap [N, h, w] is between 0 and 1; embedding [N, D] holds the pooled features.
    """

    probability: np.ndarray
    unknown: np.ndarray
    heatmap: np.ndarray
    embedding: np.ndarray


class Classifier:
    """A model file in memory; threads may share it.

    `card` is its model card, `version` its name and version, `labels` its C labels in order, `size`
    the side of a prepared photo in pixels, `filter` the resampling filter.
    `threads` (default: all CPUs) compute one photo. A second session computes with one thread, for
    when several photos are processed at the same time.
    Raises ModelError for a file that is missing, incompatible, damaged, or whose outputs differ
    from those that its card records.
    """

    def __init__(self, path: Path | str, threads: int | None = None):
        path = Path(path)
        with load_errors(path):
            sessions = load_sessions(path, threads or process.cpu_count())
            size = model_file.check_graph(sessions[0], path.name)
            metadata = sessions[0].get_modelmeta().custom_metadata_map
            self.set_up(sessions, model_file.read_card(metadata, size, path.name))

    @classmethod
    def with_runtime(cls, runtime: Runtime, card: dict) -> "Classifier":
        """Return a classifier with a card of `read_card`, whose graph another runtime computes.

        Raises ModelError as for a file.
        """
        classifier = cls.__new__(cls)
        classifier.set_up((runtime, runtime), card)
        return classifier

    def set_up(self, runtimes: tuple[Runtime, Runtime], card: dict) -> None:
        """Set all attributes, and check the outputs; the second runtime computes with one thread.

        Raises ModelError.
        """
        self.session, self.single_thread_session = runtimes
        self.card, self.size = card, card["preparation"]["size"]
        self.labels = [label["label"] for label in card["labels"]]
        self.filter = card["preparation"]["filter"]
        self.version = {"name": card["name"], "version": card["version"]}
        self.check_outputs(card["drawn_photo"])

    def prepare_photo(self, data: bytes) -> photo.PreparedPhoto:
        """Prepare the bytes of a photo for this model in this process; raises PhotoError."""
        return photo.prepare_photo(data, self.size, self.filter)

    def predict(self, pixels: np.ndarray, single_thread: bool = False) -> Outputs:
        """Compute the outputs for prepared photos, uint8 [N, size, size, 3]."""
        session = self.single_thread_session if single_thread else self.session
        return Outputs(*map(np.asarray, session.run(OUTPUTS, {"photo": pixels})))

    def check_outputs(self, recorded: dict) -> None:
        """Raise ModelError unless all sessions give the outputs recorded for the drawn photo."""
        pixels = drawn_photo(self.size)[None]
        modes = thread_modes((self.session, self.single_thread_session))
        outputs = [self.predict(pixels, single_thread) for single_thread in modes]
        classes = outputs[0].probability.shape[1]
        if classes != len(self.labels):
            raise ModelError(
                f"The card of this model has {len(self.labels)} labels, its graph {classes} "
                "classes. Export it again."
            )
        computed = {name: np.concatenate([getattr(o, name) for o in outputs]) for name in OUTPUTS}
        own = self.card.get("tolerance") or {}  # of int8
        check_recorded(computed, recorded, {name: own.get(name, TOLERANCE) for name in OUTPUTS})


def drawn_photo(size: int) -> np.ndarray:
    """Return the drawn photo whose outputs a card records, uint8 [size, size, 3]."""
    species = next(iter(drawn.SPECIES))
    pixels = drawn.draw_bird(species, 0, size, size)
    return photo.prepare(drawn.encode_photo(pixels, "PNG"), size)
