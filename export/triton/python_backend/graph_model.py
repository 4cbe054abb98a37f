"""Compute an ONNX graph in Triton's Python backend, where Triton has no ONNX Runtime backend."""

import os
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before onnxruntime is loaded

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports]


class TritonPythonModel:
    """A graph with the input `photo`; the photos of all waiting requests are one batch."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the graph, to be computed by one thread."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.enable_mem_pattern = False  # it keeps a block of memory for every batch size
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self.session = onnxruntime.InferenceSession(
            str(Path(__file__).with_name("model.onnx")),
            options,
            providers=["CPUExecutionProvider"],
        )

    def execute(self, requests: list) -> list:
        """Compute the outputs that requests name; Triton gives requests of one shape only."""
        photos = [pb_utils.get_input_tensor_by_name(each, "photo").as_numpy() for each in requests]
        names = sorted(set().union(*(each.requested_output_names() for each in requests)))
        ends = np.cumsum([len(each) for each in photos])
        try:
            computed = self.session.run(names, {"photo": np.concatenate(photos)})
        except Exception as error:  # onnxruntime's own errors share no base class
            failure = pb_utils.TritonError(f"The graph cannot be computed: {error}")
            return [pb_utils.InferenceResponse([], failure) for _ in requests]
        values = dict(zip(names, computed, strict=True))
        responses = []
        for request, start, end in zip(requests, [0, *ends], ends, strict=False):
            tensors = [
                pb_utils.Tensor(name, add_axis(values[name][start:end]))
                for name in request.requested_output_names()
            ]
            responses.append(pb_utils.InferenceResponse(tensors))
        return responses


def add_axis(values: np.ndarray) -> np.ndarray:
    """Return an output as configured: one number a photo, [N], is [N, 1] in this backend."""
    return values.reshape(-1, 1) if values.ndim == 1 else values
