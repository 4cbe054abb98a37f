"""How a file answers by itself, and how far apart two computers may be that compute it."""

import numpy as np
import onnx
import onnxruntime

from birds import drawn
from birds.classifier import OUTPUTS, TOLERANCE, drawn_photo

LEVELS = onnxruntime.GraphOptimizationLevel
OTHER_WAYS = (LEVELS.ORT_DISABLE_ALL, LEVELS.ORT_ENABLE_EXTENDED)


def drawn_outputs(model: onnx.ModelProto, size: int) -> dict[str, list]:
    """Record what onnxruntime makes of the drawn photo with this very model, for its card."""
    found = outputs(model, drawn_photo(size)[None])
    return {name: np.round(value[0], 6).tolist() for name, value in found.items()}


def tolerances(model: onnx.ModelProto, pixels: np.ndarray) -> dict[str, float]:
    """Return how far each output may be from what is recorded: twice what was seen here.

    `pixels`, uint8 [n, S, S, 3], are computed by other kernels of onnxruntime, as another processor
    would; and so are drawn birds, since of photos that taught it a model is surer. Floats then
    differ in their last digits, far less than TOLERANCE, which is the least. But 8 bits round such
    a digit up here and down there, and what follows grows apart. So much so that the first answer
    to a photo may change, and with it its whole map: then the map tells nothing.
    """
    pixels = np.concatenate([pixels, drawn_birds(pixels.shape[1])])
    here, spread = outputs(model, pixels), dict.fromkeys(OUTPUTS, 0.0)
    for level in OTHER_WAYS:
        there = outputs(model, pixels, level)
        for name in OUTPUTS:
            spread[name] = max(spread[name], float(np.abs(here[name] - there[name]).max()))
    return {name: round(max(TOLERANCE, 2 * value), 4) for name, value in spread.items()}


def drawn_birds(size: int) -> np.ndarray:
    """Draw birds like the one that a card records the outputs of, uint8 [24, size, size, 3]."""
    return np.stack(
        [drawn.draw_bird(name, n, size, size) for name in drawn.SPECIES for n in range(4)]
    )


def outputs(
    model: onnx.ModelProto, pixels: np.ndarray, level: LEVELS = LEVELS.ORT_ENABLE_ALL
) -> dict[str, np.ndarray]:
    """Compute photos, uint8 [n, S, S, 3], one by one on one thread; return each output."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found = [session.run(OUTPUTS, {"photo": photo[None]}) for photo in pixels]
    return {
        name: np.concatenate(each)
        for name, each in zip(OUTPUTS, zip(*found, strict=True), strict=True)
    }
