"""Load a model file and name the birds in prepared photos."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime

from . import cpus, drawn, memory, model_file, photo
from .model_file import ModelError

OUTPUTS = tuple(model_file.OUTPUTS)
TOLERANCE = 1e-3


class Outputs(NamedTuple):
    """What the graph says of N photos.

    probability [N, C] sums to 1, unknown [N] is higher the stranger the photo, heatmap [N, h, w]
    is between 0 and 1, embedding [N, D] holds the pooled features; all float32.
    """

    probability: np.ndarray
    unknown: np.ndarray
    heatmap: np.ndarray
    embedding: np.ndarray


class Classifier:
    """One model file in memory; threads may share it.

    `card` is its model card, `version` its name and version, `labels` its C labels in order, `size`
    the side of a prepared photo in pixels, `filter` what it is resized with.
    A photo is computed by `threads`, all CPUs unless told, or by one where others are computed
    beside it: two sessions, since a session keeps its threads. Raises ModelError for a file that
    is missing, not ours, damaged or miscomputed here.
    """

    def __init__(self, path: Path | str, threads: int | None = None):
        path, threads = Path(path), threads or cpus.count()
        try:
            model_file.check_bytes(path)
            self.session = open_session(path, threads)
            self.beside = open_session(path, 1) if threads > 1 else self.session
            memory.give_back()
            self.size = model_file.check_graph(self.session, path.name)
            metadata = self.session.get_modelmeta().custom_metadata_map
            self.card = model_file.read_card(metadata, self.size, path.name)
            self.labels = [each["label"] for each in self.card["labels"]]
            self.filter = self.card["preparation"]["filter"]
            self.version = {"name": self.card["name"], "version": self.card["version"]}
            self.check(self.card["drawn_photo"])
        except ModelError:
            raise
        except OSError as error:
            raise ModelError(
                f"{path.name} can't be read here ({error.strerror}). Give this user the right to."
            ) from error
        except Exception as error:  # onnxruntime's own errors share no base class
            raise ModelError(
                f"{path.name} is damaged or no Fieldmark model. Export it once more."
            ) from error

    def read(self, data: bytes) -> photo.Photo:
        """Prepare a photo as this model wants it; raises PhotoError."""
        return photo.read(data, self.size, self.filter)

    def predict(self, photos: np.ndarray, crowded: bool = False) -> Outputs:
        """Answer for prepared photos, uint8 [N, size, size, 3], on one CPU if crowded."""
        session = self.beside if crowded else self.session
        return Outputs(*session.run(OUTPUTS, {"photo": photos}))

    def check(self, recorded: dict) -> None:
        """Raise ModelError unless the drawn photo gets the answer that its exporter got."""
        for crowded in (False, True):
            self.compare(self.predict(drawn_photo(self.size)[None], crowded), recorded)

    def compare(self, outputs: Outputs, recorded: dict) -> None:
        """Raise ModelError unless outputs are the recorded ones."""
        if outputs.probability.shape[1] != len(self.labels):
            raise ModelError("This model's card names other labels than its graph: export it anew.")
        tolerance = self.card.get("tolerance") or {}  # a file of 8 bits has its own
        for name in OUTPUTS:
            found, expected = getattr(outputs, name)[0], recorded.get(name)
            if np.shape(found) != np.shape(expected) or not np.allclose(
                found, expected, atol=tolerance.get(name, TOLERANCE)
            ):
                raise ModelError(
                    f"This model gives another {name} for its drawn photo than its card records: "
                    "the file is damaged, or this onnxruntime computes it wrongly."
                )


def open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """Load a graph to be computed by so many threads, which wait in a loop only while it is."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its errors are told in our words
    options.intra_op_num_threads = threads
    options.enable_mem_pattern = False  # it keeps a block of memory for each size of batch
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"], enable_fallback=False
    )


def drawn_photo(size: int) -> np.ndarray:
    """Return the drawn photo that a card records the outputs of, uint8 [size, size, 3]."""
    name = next(iter(drawn.SPECIES))
    return photo.prepare(drawn.encoded(drawn.bird(name, 0, size, size), "PNG"), size)
