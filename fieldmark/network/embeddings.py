"""Compute the embeddings of photos by a frozen backbone, with onnxruntime where it is faster."""

import io
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from birds.photo import PhotoError
from birds.process import cpu_count
from fieldmark.errors import DatasetError
from fieldmark.network.network import Network
from fieldmark.network.precision import autocast, choose_precision
from fieldmark.network.preparation import Preparation

BATCH_SIZE = 32  # photos that torch computes at once
ONNX_BATCH_SIZE = 4  # a core's cache holds their maps; larger and smaller batches are slower
WORTH_EXPORTING = 20.0  # seconds of computing in torch from which an export pays
OPSET = 17
MAX_DIFFERENCE = 1e-3  # between torch and onnxruntime, relative to the largest value


def compute_embeddings(
    network: Network, files: Sequence[Path | bytes], precision: str = "float32"
) -> np.ndarray:
    """Return the embeddings [n, D] of photos, float32, computed in evaluation mode.

    Raises DatasetError for a photo that cannot be decoded.
    """
    return compute_features(network.backbone, network.preparation, files, precision)


def compute_features(
    backbone: nn.Module,
    preparation: Preparation,
    files: Sequence[Path | bytes],
    precision: str = "float32",
) -> np.ndarray:
    """Return the features of photos: vectors [n, D], or the means of maps, float32.

    `backbone` takes photos [N, 3, S, S] as `preparation` prepares them. On a CPU in float32, photos
    that would keep torch busy for over WORTH_EXPORTING seconds are computed by onnxruntime, one
    small batch per core, if the module can be exported.
    """
    pooled = PooledBackbone(backbone, preparation).eval()
    device = next(pooled.parameters()).device
    compute = with_torch(pooled, precision)
    batches = prepare_batches(preparation, files[:BATCH_SIZE], BATCH_SIZE)
    started = time.perf_counter()
    first = [(pixels, compute(pixels)) for pixels in batches]
    remaining = files[BATCH_SIZE:]
    seconds = (time.perf_counter() - started) / BATCH_SIZE * len(remaining)
    vectors = [vector for _, vector in first]
    on_cpu = device.type == "cpu" and choose_precision(precision, "cpu") == "float32"
    session = None
    if on_cpu and seconds > WORTH_EXPORTING:
        session = export_to_onnxruntime(pooled, *first[0])
    if session:
        vectors += compute_in_threads(session, preparation, remaining)
    else:
        vectors += map(compute, prepare_batches(preparation, remaining, BATCH_SIZE))
    return np.concatenate(vectors)


class PooledBackbone(nn.Module):
    """A backbone from pixels, uint8 [N, S, S, 3], to vectors [N, D]."""

    def __init__(self, backbone: nn.Module, preparation: Preparation):
        super().__init__()
        self.backbone = backbone
        mean, std = preparation.statistics(device=next(backbone.parameters()).device)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, photo: torch.Tensor) -> torch.Tensor:
        """Return the vectors of photos."""
        scaled = (photo.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        features = self.backbone(scaled.contiguous(memory_format=torch.channels_last))
        return features.mean((2, 3)) if features.ndim == 4 else features


def with_torch(pooled: PooledBackbone, precision: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from pixels [N, S, S, 3] to vectors [N, D] that torch computes."""
    device = pooled.mean.device

    def compute(pixels: np.ndarray) -> np.ndarray:
        with torch.no_grad(), autocast(precision, device.type):
            return pooled(torch.from_numpy(pixels).to(device)).float().cpu().numpy()

    return compute


def prepare_batches(
    preparation: Preparation, files: Sequence[Path | bytes], batch_size: int
) -> Iterator[np.ndarray]:
    """Yield batches of pixels, uint8 [N, S, S, 3], prepared in threads a few batches ahead."""
    with ThreadPoolExecutor(cpu_count()) as pool:
        futures = deque()
        for start in range(0, len(files), batch_size):
            batch = files[start : start + batch_size]
            futures.append(pool.submit(prepare_files, preparation, batch))
            if len(futures) > 2 * cpu_count():
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()


def prepare_files(preparation: Preparation, files: Sequence[Path | bytes]) -> np.ndarray:
    """Return the pixels of photos, uint8 [n, S, S, 3]; DatasetError names one it cannot decode."""
    pixels = []
    for file in files:
        try:
            data = file if isinstance(file, bytes) else file.read_bytes()
            pixels.append(preparation.prepare(data))
        except PhotoError as error:
            name = "A photo" if isinstance(file, bytes) else file
            raise DatasetError(f"{name} cannot be decoded: {error}") from error
    return np.stack(pixels)


def export_to_onnxruntime(
    pooled: PooledBackbone, pixels: np.ndarray, expected: np.ndarray
) -> onnxruntime.InferenceSession | None:
    """Return a single-threaded session of a module; None if it cannot be exported faithfully.

    `expected` are the vectors that torch computed of `pixels`.
    """
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the exporter warns of constants and of its successor
            torch.onnx.export(
                pooled,
                (torch.from_numpy(pixels[:2]),),
                buffer,
                input_names=["photo"],
                output_names=["embedding"],
                dynamic_axes={"photo": {0: "N"}, "embedding": {0: "N"}},
                opset_version=OPSET,
                dynamo=False,  # exports in a second; its successor takes longer than it would save
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            buffer.getvalue(), options, providers=["CPUExecutionProvider"]
        )
        vectors = session.run(None, {"photo": pixels[:ONNX_BATCH_SIZE]})[0]
    except Exception:  # torch and onnxruntime raise errors of many kinds for what they lack
        return None
    expected = expected[:ONNX_BATCH_SIZE]
    faithful = np.abs(vectors - expected).max() <= MAX_DIFFERENCE * np.abs(expected).max()
    return session if faithful else None


def compute_in_threads(
    session: onnxruntime.InferenceSession,
    preparation: Preparation,
    files: Sequence[Path | bytes],
) -> list[np.ndarray]:
    """Return the vectors of photos in batches; every core decodes and computes its own."""

    def compute(start: int) -> np.ndarray:
        pixels = prepare_files(preparation, files[start : start + ONNX_BATCH_SIZE])
        return np.asarray(session.run(None, {"photo": pixels})[0])

    with ThreadPoolExecutor(cpu_count()) as pool:
        return list(pool.map(compute, range(0, len(files), ONNX_BATCH_SIZE)))
