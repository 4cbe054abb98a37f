"""Predictions that an export needs: of the held-out photos, and by the exported features."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd

from birds import drawn
from export.weights_dtype import DEFAULT, have_equal_weights, round_network
from fieldmark.data.parallel import map_threads
from fieldmark.errors import ExportError
from fieldmark.evaluation.ood import compute_score
from fieldmark.evaluation.predictions import (
    PhotoSource,
    Predictions,
    describe_photos,
    predict,
    read_photo,
)
from fieldmark.evaluation.uncertainty import Uncertainty
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


def predict_with_features(
    features: onnx.ModelProto, network: Network, photos: pd.DataFrame, source: PhotoSource
) -> Predictions:
    """Predict photos by the exported first part of a graph and the folded head.

    On a CPU onnxruntime computes a backbone up to three times as fast as eager PyTorch.
    """
    one_thread = onnxruntime.SessionOptions()
    one_thread.intra_op_num_threads = 1  # photos are computed in parallel, which scales better
    session = onnxruntime.InferenceSession(
        features.SerializeToString(), one_thread, providers=["CPUExecutionProvider"]
    )

    def embed(path: str) -> np.ndarray:
        pixels = network.preparation.prepare(read_photo(source, path))
        return np.asarray(session.run(["embedding"], {"photo": pixels[None]})[0])

    embedding = np.concatenate(map_threads(embed, list(photos["path"])))
    weight, bias = (values.numpy() for values in fold_head(network.head))
    described = describe_photos(photos, network.labels) | {"label_index": network.label_index}
    return Predictions(logits=embedding @ weight.T + bias, embedding=embedding, **described)


def with_scores(predictions: Predictions, fitted: Uncertainty) -> Predictions:
    """Return predictions of a network with its temperature and out-of-distribution scores."""
    score = compute_score(fitted.score, predictions, fitted.temperature)
    return replace(predictions, temperature=fitted.temperature, ood_score=score)
