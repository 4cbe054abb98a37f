"""The columns of an answer, for one photo or for several of one bird."""

from collections.abc import Mapping
from typing import Any

from birds.decision import covering_taxon


def answer_columns(encoded: dict, labels: Mapping[str, dict]) -> dict[str, Any]:
    """Return the columns of rows.SCHEMA that state predictions and an answer.

    `encoded` has `predictions` and `answer` as in the HTTP API, `labels` the labels of the model
    card by name.
    """
    answer, predictions = encoded["answer"], encoded["predictions"]
    taxon = covering_taxon([labels[label] for label in answer["labels"]]) or {}
    return {
        **predictions[0],
        **{key: answer[key] for key in ("kind", "unknown_score", "text")},
        **{"shortlist": answer["labels"], "predictions": predictions},
        **{"taxon_rank": taxon.get("rank"), "taxon": taxon.get("name")},
    }
