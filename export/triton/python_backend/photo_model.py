"""Identify birds in the bytes of photos, in Triton's Python backend.

The package `birds` beside this file does it, as in the function; the models `species` and `finder`
of this server compute its graphs. Photos are decoded in processes with limits on memory and time.
"""

import json
import multiprocessing
import shutil
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports]

from birds import process
from birds.classifier import Classifier
from birds.errors import UserError
from birds.finder import Finder
from birds.identifier import Identifier
from birds.photo import PhotoError
from birds.prediction import DEFAULT_OPTIONS, encode_identification
from birds.workers.decoder import Decoder, Limits, plan_memory
from birds.workers.task import DecoderBusy

PATIENCE = 5.0  # seconds that a large photo waits for the process for large ones
BUSY = "Too many photos at once just now. Please try again."
FOLDER = Path(__file__).parent


class BackendError(UserError):
    """Another model of this server did not respond."""


class BackendRuntime:
    """Another model of this server, in the place of onnxruntime: a `birds.sessions.Runtime`."""

    def __init__(self, model: str, batch: int):
        self.model, self.batch = model, batch

    def run(self, names: Sequence[str], inputs: dict[str, np.ndarray], /) -> list[np.ndarray]:
        """Return the outputs of these names for the photos, in batches that the model accepts."""
        photos = inputs["photo"]
        starts = range(0, len(photos), self.batch)
        batches = [self.request(names, photos[start : start + self.batch]) for start in starts]
        return [np.concatenate(values) for values in zip(*batches, strict=True)]

    def request(self, names: Sequence[str], photos: np.ndarray) -> list[np.ndarray]:
        """Return the outputs for a batch of photos; raises BackendError."""
        request = pb_utils.InferenceRequest(
            model_name=self.model,
            requested_output_names=list(names),
            inputs=[pb_utils.Tensor("photo", np.ascontiguousarray(photos))],
        )
        response = request.exec()
        if response.has_error():
            message = response.error().message()
            raise BackendError(f"The model `{self.model}` cannot be computed: {message}")
        found = [pb_utils.get_output_tensor_by_name(response, name) for name in names]
        # what is returned must not point into the memory of the response
        return [
            values.reshape(-1) if name == "unknown" else values
            for name, values in zip(names, [each.as_numpy().copy() for each in found], strict=True)
        ]


class TritonPythonModel:
    """A model that takes photos as they are; the photos of all waiting requests are one batch."""

    def initialize(self, args: dict[str, str]) -> None:
        """Start the processes that decode; the other models can be called only later."""
        self.config = json.loads(args["model_config"])
        instances = sum(group["count"] for group in self.config["instance_group"])
        workers, memory = plan_memory(process.memory_limit(), process.cpu_count())
        # this process is Triton's, which runs no other module
        multiprocessing.set_executable(shutil.which("python3") or "python3")
        self.decoder = Decoder(max(1, -(-workers // instances)), Limits(memory=memory))
        self.decoder.start()
        self.identifier: Identifier | None = None

    def parameter(self, name: str) -> str:
        """Return a parameter of the configuration, empty if there is none."""
        return self.config["parameters"].get(name, {}).get("string_value", "")

    def load_identifier(self) -> Identifier:
        """Return the models with their cards, checked with the drawn photo; raises ModelError."""
        batch, sha256 = int(self.parameter("graph_batch")), self.parameter("finder_sha256")
        card = json.loads((FOLDER / "card.json").read_text(encoding="utf-8"))
        classifier = Classifier.with_runtime(BackendRuntime("species", batch), card)
        if not sha256:
            return Identifier(classifier)
        card = json.loads((FOLDER / "finder.json").read_text(encoding="utf-8"))
        finder = Finder.with_runtime(BackendRuntime("finder", batch), card, sha256)
        return Identifier(classifier, finder)

    def execute(self, requests: list) -> list:
        """Identify the birds in the photos of all requests; a bad photo fails its request only."""
        try:
            self.identifier = self.identifier or self.load_identifier()
            return self.identify(self.identifier, requests)
        except UserError as error:  # concerns all of them
            return [fail(error) for _ in requests]

    def identify(self, identifier: Identifier, requests: list) -> list:
        """Return the response to each request."""
        futures: list[list[Future]] = []
        for request in requests:
            photos = pb_utils.get_input_tensor_by_name(request, "photo").as_numpy().reshape(-1)
            futures.append(
                [
                    identifier.prepare_in_worker(self.decoder, bytes(photo), patience=PATIENCE)
                    for photo in photos
                ]
            )
        responses, decoded = [None] * len(requests), {}
        for number, prepared in enumerate(futures):
            try:
                decoded[number] = [future.result() for future in prepared]
            except (PhotoError, DecoderBusy) as error:
                responses[number] = fail(error)
                for future in prepared:  # the others of its request cost no more time
                    future.cancel()
        flat = [each for photos in decoded.values() for each in photos]
        found = iter(identifier.identify_batch([each.value for each in flat]) if flat else [])
        for number, photos in decoded.items():
            rows = [(next(found), each.seconds) for each in photos]
            responses[number] = encode(identifier, rows, requests[number])
        return responses

    def finalize(self) -> None:
        """Kill the processes that decode."""
        self.decoder.close()


def encode(identifier: Identifier, rows: list, request) -> object:
    """Return the response to a request whose photos were identified; rows are with seconds."""
    looks = [found.chosen for found, _ in rows]
    answers = [
        json.dumps(encode_identification(found, seconds, identifier.classifier, DEFAULT_OPTIONS))
        for found, seconds in rows
    ]
    values = {
        "answer": np.array([[answer.encode()] for answer in answers], np.object_),
        "probability": np.stack([look.outputs.probability[look.index] for look in looks]),
        "unknown": np.array([[look.unknown] for look in looks], np.float32),
        "crop": np.array([look.crop.square for look in looks], np.int32),
    }
    names = request.requested_output_names()
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, values[name]) for name in names])


def fail(error: Exception) -> object:
    """Return the response that says what is wrong."""
    sentence = BUSY if isinstance(error, DecoderBusy) else str(error)
    return pb_utils.InferenceResponse([], pb_utils.TritonError(sentence))
