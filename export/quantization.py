"""8-bit model files: quantised convolutions, their tolerances and how much they may lose."""

import io
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.quant_utils import add_pre_process_metadata
from onnxscript.rewriter import rewrite
from onnxscript.rewriter.rules.common import fuse_batchnorm_into_conv_rule, fuse_pad_into_conv_rule

from birds import drawn
from birds.classifier import OUTPUTS, TOLERANCE, drawn_photo
from export.model_file import remove_debug_info
from export.weights_dtype import find_convolutions, store_as_half
from fieldmark.errors import ExportError
from fieldmark.network.preparation import Preparation

MIN_AGREEMENT = 0.97  # proportion of photos with the network's prediction
RANGE_PHOTOS = 200  # training photos that set the ranges of activations
PERCENTILE = 99.999  # of a convolution's inputs and outputs lies within the range of its 8 bits
MIN_SHARE = 1 / 3  # of the weights must be in 8 bits, or the format is not worth its loss
FIRST_IN_FLOAT = 4  # convolutions, which see fine detail at full size and lose most
TOLERANCE_PHOTOS = 50
LEVELS = onnxruntime.GraphOptimizationLevel
OTHER_LEVELS = (
    LEVELS.ORT_DISABLE_ALL,
    LEVELS.ORT_ENABLE_EXTENDED,
)


def quantize_with_photos(
    model: onnx.ModelProto, preparation: Preparation, photos: pd.DataFrame, folder: Path
) -> tuple[onnx.ModelProto, dict]:
    """Return a float32 model in 8 bits, and the entries of its card that differ for it.

    `photos` is the split table, `folder` holds its paths.
    """
    paths = sample_range_photos(photos)
    pixels = np.stack([preparation.prepare((folder / path).read_bytes()) for path in paths])
    quantized = quantize(model, pixels)
    return quantized, {
        "drawn_photo": describe_drawn_photo(quantized, preparation.size),
        "tolerance": measure_tolerances(quantized, pixels[:TOLERANCE_PHOTOS]),
    }


def quantize(model: onnx.ModelProto, pixels: np.ndarray) -> onnx.ModelProto:
    """Return a float32 model whose convolutions compute in 8 bits, except `kept_in_float`.

    `pixels`, prepared training photos uint8 [n, S, S, 3], set the ranges. Everything else stays
    float32. Weights have 7 bits and a scale by channel: with 8, processors without VNNI add two
    products in 16 bits, and what exceeds them is clipped. Raises ExportError for a network of few
    convolutions, such as a transformer.
    """
    if not len(pixels):
        raise ValueError("int8 needs training photos to set ranges by.")
    model = rewrite(
        model, pattern_rewrite_rules=[fuse_batchnorm_into_conv_rule, fuse_pad_into_conv_rule]
    )
    if (share := quantized_share(model)) < MIN_SHARE:
        raise ExportError(
            f"Only {share:.0%} of this network's weights can be stored in 8 bits, because it has "
            "few convolutions. Set `weights_dtype: fp16`."
        )
    add_pre_process_metadata(model)  # or onnxruntime warns that batch norms may not be folded
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        file = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            file,
            PixelReader(pixels),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=kept_in_float(model),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.Percentile,
            # one photo at a time, or the activations of all of them are in memory at once
            extra_options={"CalibPercentile": PERCENTILE, "CalibStridedMinMax": 1},
        )
        quantized = onnx.load(file)
    remove_debug_info(quantized)
    del quantized.metadata_props[:]
    store_as_half(quantized)
    onnx.checker.check_model(quantized, full_check=True)
    return quantized


def kept_in_float(model: onnx.ModelProto) -> list[str]:
    """Return the names of the first and of the depthwise convolutions.

    They lose most in 8 bits and gain least.
    """
    shapes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    nodes = find_convolutions(model)
    depthwise = [node for node in nodes[FIRST_IN_FLOAT:] if shapes[node.input[1]][1] == 1]
    return [node.name for node in (*nodes[:FIRST_IN_FLOAT], *depthwise)]


def quantized_share(model: onnx.ModelProto) -> float:
    """Return the share of a model's weights that `quantize` stores in 8 bits."""
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    kept = kept_in_float(model)
    nodes = find_convolutions(model)
    return sum(sizes[n.input[1]] for n in nodes if n.name not in kept) / sum(sizes.values())


def sample_range_photos(
    photos: pd.DataFrame, count: int = RANGE_PHOTOS, seed: int = 0
) -> list[str]:
    """Return the paths of training photos to set ranges by, of each species in turn."""
    train = photos[photos["split"] == "train"].sample(frac=1, random_state=seed)
    turn = train.groupby("label").cumcount()
    return list(train.loc[turn.sort_values(kind="stable").index[:count], "path"])


class PixelReader(CalibrationDataReader):
    """Pass prepared photos, uint8 [n, S, S, 3], to onnxruntime one by one."""

    def __init__(self, pixels: np.ndarray):
        self.pixels = pixels
        self.set_range(0, len(pixels))

    def __len__(self) -> int:
        return len(self.pixels)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Continue with a range of photos; onnxruntime chose the names."""
        self.remaining: Iterator[np.ndarray] = iter(self.pixels[start_index:end_index])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next photo as a batch of one, None after the last."""
        photo = next(self.remaining, None)
        return None if photo is None else {"photo": photo[None]}


def describe_drawn_photo(model: onnx.ModelProto, size: int) -> dict[str, list]:
    """Return what onnxruntime computes for the drawn photo with this model, for its card."""
    outputs = compute_outputs(model, drawn_photo(size)[None])
    return {name: np.round(value[0], 6).tolist() for name, value in outputs.items()}


def measure_tolerances(model: onnx.ModelProto, pixels: np.ndarray) -> dict[str, float]:
    """Return how far each output may differ from the recorded one: twice the largest seen here.

    `pixels`, uint8 [n, S, S, 3], and drawn birds, of which a model is less certain, are computed by
    other kernels of onnxruntime, as another processor would. Floats then differ in their last
    digits, far less than TOLERANCE, which is the minimum. But 8 bits round such a digit up here and
    down there, and the difference grows in later layers, until the predicted
    species and with it the whole heat map may change.
    """
    pixels = np.concatenate([pixels, draw_birds(pixels.shape[1])])
    default, largest = compute_outputs(model, pixels), dict.fromkeys(OUTPUTS, 0.0)
    for level in OTHER_LEVELS:
        other = compute_outputs(model, pixels, level)
        for name in OUTPUTS:
            largest[name] = max(largest[name], float(np.abs(default[name] - other[name]).max()))
    return {name: round(max(TOLERANCE, 2 * value), 4) for name, value in largest.items()}


def draw_birds(size: int) -> np.ndarray:
    """Draw birds like the one whose outputs a card records, uint8 [24, size, size, 3]."""
    return np.stack(
        [drawn.draw_bird(name, n, size, size) for name in drawn.SPECIES for n in range(4)]
    )


def compute_outputs(
    model: onnx.ModelProto,
    pixels: np.ndarray,
    level: Any = LEVELS.ORT_ENABLE_ALL,
) -> dict[str, np.ndarray]:
    """Compute photos, uint8 [n, S, S, 3], one by one on one thread; return each output."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    results = [session.run(OUTPUTS, {"photo": photo[None]}) for photo in pixels]
    return dict(zip(OUTPUTS, map(np.concatenate, zip(*results, strict=True)), strict=True))
