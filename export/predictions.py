"""Predictions that an export needs: of the held-out photos, and by the exported features."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd

from birds import drawn
from export.weights_dtype import DEFAULT, have_equal_weights, round_network
from fieldmark.errors import ExportError
from fieldmark.evaluation.predictions import Predictions, predict
from fieldmark.evaluation.predictor import Predictor
from fieldmark.network.head import fold_head
from fieldmark.network.network import Network

HELD_OUT = ("valid", "calibration")


def held_out_photos(photos: pd.DataFrame) -> pd.DataFrame:
    """Return the photos that a file is checked with; raises ExportError if a split is missing."""
    if missing := {"train", *HELD_OUT} - set(photos["split"]):
        raise ExportError(
            f"The split has no photos in {', '.join(sorted(missing))}. `train` fits scores, "
            "`valid` chooses and `calibration` sets thresholds: raise `valid_share` or "
            "`calibration_share`."
        )
    return photos[photos["split"].isin(HELD_OUT)]


def predict_held_out(
    network: Network, photos: pd.DataFrame, folder: Path, weights_dtype: str = DEFAULT
) -> tuple[Predictions, Predictions]:
    """Predict the photos of `valid` and `calibration` before and after the weights are rounded.

    Each photo is decoded once, and computed once where rounding changes no weight.
    """
    exact, rounded = round_network(network, "fp32"), round_network(network, weights_dtype)
    networks = [exact] if have_equal_weights(exact, rounded) else [exact, rounded]
    predictions = predict(networks, held_out_photos(photos), folder)
    return predictions[0], predictions[-1]


def drawn_photos() -> tuple[pd.DataFrame, dict[str, bytes]]:
    """Return the eight awkward drawn photos: a table like that of a split, and their bytes."""
    photos = {f"drawn: {name}": data for name, data in drawn.awkward_photos().items()}
    return pd.DataFrame({"path": list(photos), "label": None, "split": "drawn"}), photos


def features_predictor(features: onnx.ModelProto, network: Network) -> Predictor:
    """Return what predicts by the exported first part of a graph and the folded head.

    On a CPU onnxruntime computes a backbone up to three times as fast as eager PyTorch.
    """
    session = onnxruntime.InferenceSession(
        features.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    weight, bias = (values.numpy() for values in fold_head(network.head))

    def predict(pixels: np.ndarray, facts: dict[str, Any]) -> Predictions:
        embedding = np.asarray(session.run(["embedding"], {"photo": pixels})[0])
        columns = {"embedding": embedding, "label_index": network.label_index}
        return Predictions(logits=embedding @ weight.T + bias, **columns, **facts)

    preparation = network.preparation
    return Predictor(preparation.size, preparation.filter, network.labels, predict)
