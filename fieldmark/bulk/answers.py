"""The columns of an answer, for one photo or for several of one bird."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from birds.decision import covering_taxon
from birds.prediction import encode_outputs
from fieldmark.bulk.rows import MIN_PROBABILITY

TOP = 5  # labels that are kept at least


def answer_columns(
    probability: np.ndarray,
    unknown: float,
    card: dict,
    labels: Mapping[str, dict],
    top: int = TOP,
) -> dict[str, Any]:
    """Return the columns of rows.SCHEMA that state predictions and an answer.

    `probability` [C] and `unknown` are outputs of the model or combined ones, `labels` the labels
    of its `card` by name. The predictions are the `top` labels, and all of MIN_PROBABILITY.
    """
    likely = int((probability >= MIN_PROBABILITY).sum())
    encoded = encode_outputs(probability, unknown, card, max(top, likely))
    answer, predictions = encoded["answer"], encoded["predictions"]
    taxon = covering_taxon([labels[label] for label in answer["labels"]]) or {}
    return {
        **predictions[0],
        **{key: answer[key] for key in ("kind", "unknown_score", "text")},
        **{"shortlist": answer["labels"], "predictions": predictions},
        **{"taxon_rank": taxon.get("rank"), "taxon": taxon.get("name")},
    }
