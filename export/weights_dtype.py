"""The forms of a model file: weights as float32, as float16, or a body that computes in 8 bits."""

import io
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto
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

from export.graph import ExportError
from export.model_file import SMALL, forget_origin, halve

PRECISIONS = ("fp32", "fp16", "int8")
DEFAULT = "fp16"
CALIBRATED_BY = 200  # photos
PERCENTILE = 99.999  # of what a convolution sees or says is within the range of its 8 bits
WORTH_IT = 1 / 3  # of the weights, at least, in 8 bits
FIRST = 4  # convolutions, which see fine grain at full size and suffer most from 8 bits


def stored(
    model: onnx.ModelProto, precision: str, pixels: np.ndarray | None = None
) -> onnx.ModelProto:
    """Return a float32 model in the form of a precision, another model.

    fp16 loses nothing: it raises ValueError unless `round_to_half` has rounded the weights before.
    int8 is calibrated by `pixels`, prepared training photos, uint8 [n, S, S, 3].
    """
    if precision not in PRECISIONS:
        raise ValueError(f"{precision} is none of {', '.join(PRECISIONS)}.")
    if precision == "int8":
        made = quantised(model, pixels)
    else:
        made = onnx.ModelProto()
        made.CopyFrom(model)
    if precision != "fp32":
        halve(made)
    if precision == "fp16" and (unrounded := float_convolutions(made)):
        raise ValueError(f"{unrounded[0]} is more than float16 holds: round_to_half comes first.")
    onnx.checker.check_model(made, full_check=True)
    return made


def quantised(model: onnx.ModelProto, pixels: np.ndarray | None) -> onnx.ModelProto:
    """Let the convolutions of a model compute in 8 bits, but for `kept_in_float`.

    What isn't a convolution stays float32: normalisation, class matrix, softmax, map, strangeness.
    Weights have 7 bits, a scale for each channel: with 8, processors without VNNI add up two
    products in 16 bits, and what is beyond them is cut off. Raises ExportError for a network of
    few convolutions, such as a transformer.
    """
    if pixels is None or not len(pixels):
        raise ValueError("int8 needs training photos to calibrate by.")
    rules = [fuse_batchnorm_into_conv_rule, fuse_pad_into_conv_rule]
    model = rewrite(model, pattern_rewrite_rules=rules)
    if (share := in_8_bits(model)) < WORTH_IT:
        raise ExportError(
            f"Only {share:.0%} of this network's weights could be in 8 bits, since it has few "
            "convolutions. Store it as fp16."
        )
    add_pre_process_metadata(model)  # or it asks whether batch norms are folded
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        file = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            file,
            Pixels(pixels),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=kept_in_float(model),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.Percentile,
            # a photo at a time, whatever the option's name, or all of them are in memory at once
            extra_options={"CalibPercentile": PERCENTILE, "CalibStridedMinMax": 1},
        )
        made = onnx.load(file)
    forget_origin(made)
    del made.metadata_props[:]
    return made


def kept_in_float(model: onnx.ModelProto) -> list[str]:
    """Name the convolutions that lose most in 8 bits and gain least: the first, and depthwise."""
    shapes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    found = convolutions(model)
    depthwise = [node for node in found[FIRST:] if shapes[node.input[1]][1] == 1]
    return [node.name for node in (*found[:FIRST], *depthwise)]


def in_8_bits(model: onnx.ModelProto) -> float:
    """Return the share of a model's weights that `quantised` would store in 8 bits."""
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    kept = kept_in_float(model)
    small = (sizes[each.input[1]] for each in convolutions(model) if each.name not in kept)
    return sum(small) / sum(sizes.values())


def convolutions(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """List the convolutions of a model in the order that they are computed in."""
    return [node for node in model.graph.node if node.op_type == "Conv"]


def float_convolutions(model: onnx.ModelProto) -> list[str]:
    """Name the weights of convolutions that are large and stored as float32."""
    kinds = {t.name: t.data_type for t in model.graph.initializer if np.prod(t.dims) >= SMALL}
    weights = (node.input[1] for node in convolutions(model))
    return [name for name in weights if kinds.get(name) == TensorProto.FLOAT]


def calibration(photos: pd.DataFrame, count: int = CALIBRATED_BY, seed: int = 0) -> list[str]:
    """Draw the paths of training photos to calibrate by, of each species in turn."""
    drawn = photos[photos["split"] == "train"].sample(frac=1, random_state=seed)
    turn = drawn.groupby("label").cumcount()
    return list(drawn.loc[turn.sort_values(kind="stable").index[:count], "path"])


class Pixels(CalibrationDataReader):
    """Hand prepared photos, uint8 [n, S, S, 3], to onnxruntime's calibration one by one."""

    def __init__(self, pixels: np.ndarray):
        self.pixels = pixels
        self.set_range(0, len(pixels))

    def __len__(self) -> int:
        return len(self.pixels)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Go on with these photos; the names are onnxruntime's."""
        self.coming = iter(self.pixels[start_index:end_index])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next photo as a batch of one, None after the last."""
        photo = next(self.coming, None)
        return None if photo is None else {"photo": photo[None]}
