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
from birds.photo import EmptyPhoto, PhotoError, check_bytes
from birds.prediction import DEFAULT_OPTIONS, encode_identification
from birds.workers.decoder import Decoded, Decoder, Limits, plan_memory
from birds.workers.task import BUSY, DecoderBusy

PATIENCE = 5.0  # seconds that a large photo waits for the process for large ones
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
            raise BackendError(
                f"The model `{self.model}` cannot be computed ({message}). Export it again."
            )
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
        _, memory = plan_memory(process.memory_limit() / instances, 1)
        # this process is Triton's, which runs no other module
        multiprocessing.set_executable(shutil.which("python3") or "python3")
        self.decoder = Decoder(1, Limits(memory=memory))  # each instance has one of its own
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
        submitted = [self.submit(identifier, request) for request in requests]
        prepared = [collect(futures) for futures in submitted]
        photos = [photo for each in prepared if isinstance(each, list) for photo in each]
        values = [photo.value for photo in photos]
        found = iter(identifier.identify_batch(values) if values else [])
        responses = []
        for request, each in zip(requests, prepared, strict=True):
            if isinstance(each, Exception):
                responses.append(fail(each))
            else:
                rows = [(next(found), photo.seconds) for photo in each]
                responses.append(encode(identifier, rows, request))
        return responses

    def submit(self, identifier: Identifier, request) -> list[Future] | Exception:
        """Let processes decode the photos of a request; return their results to come, or why not.

        One error is that of the whole request.
        """
        futures: list[Future] = []
        try:
            photos = pb_utils.get_input_tensor_by_name(request, "photo").as_numpy().reshape(-1)
            if request.is_cancelled() or not len(photos):
                raise EmptyPhoto("This request has no photo.")
            for photo in photos:
                check_bytes(len(photo))
                future = identifier.prepare_in_worker(self.decoder, photo, patience=PATIENCE)
                futures.append(future)
        except Exception as error:
            cancel(futures)
            return error
        return futures

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


def collect(futures: list[Future] | Exception) -> list[Decoded] | Exception:
    """Return the decoded photos of a request, or its first error."""
    if isinstance(futures, Exception):
        return futures
    try:
        return [future.result() for future in futures]
    except Exception as error:
        cancel(futures)  # the others of the request cost no more time
        return error


def cancel(futures: list[Future]) -> None:
    """End the work of photos that nobody waits for."""
    for future in futures:
        future.cancel()


def fail(error: Exception) -> object:
    """Return the response that says what is wrong, with the status that the function would give."""
    code = pb_utils.TritonError.INTERNAL
    if isinstance(error, PhotoError):
        sentence, code = str(error), pb_utils.TritonError.INVALID_ARG
    elif isinstance(error, DecoderBusy):
        sentence, code = BUSY, pb_utils.TritonError.UNAVAILABLE
    elif isinstance(error, UserError):
        sentence = str(error)
    else:  # its text may quote a photo
        pb_utils.Logger.log_error(f"A photo could not be processed: {type(error).__name__}")
        sentence = "This photo could not be processed. Please try again."
    return pb_utils.InferenceResponse([], pb_utils.TritonError(sentence, code))
