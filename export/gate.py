"""The gate: a model file is let through only if it answers real photos as the Learner does."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import torch
from fastai.vision.all import Learner
from fastapi.testclient import TestClient

from birds.api import create_app
from birds.classifier import Classifier, ModelError
from birds.http.settings import Settings
from export.look import look
from fieldmark.errors import UserError
from fieldmark.evaluation.measure import asked
from fieldmark.evaluation.ood import Probability, Score

TIE = 1e-4
TOLERANCE = 1e-3


class GateError(UserError):
    """A model file that answers otherwise than its Learner; `report` shows the worst photos."""

    exit_status = 1

    def __init__(self, report: pd.DataFrame):
        self.report = report
        bad = report[~report["passed"]]
        super().__init__(
            f"{len(bad)} of {len(report)} photos get another answer from the model file than from "
            f"the Learner, so no model was written. The worst:\n{bad.head(10).to_string()}"
        )


def gate(
    learn: Learner,
    model: Path,
    photos: Mapping[str, bytes],
    temperature: float = 1.0,
    score: Score | None = None,
) -> pd.DataFrame:
    """Return a row a photo, the worst first, or raise GateError; ModelError if it can't be served.

    The bytes of each photo go through the Learner's validation path and, over HTTP, through the
    function's. The first answers must be equal, unless the Learner's two best are within TIE of
    each other, and every probability within TOLERANCE; so must what `score` makes of the Learner's
    embedding be, relatively where it is over 1.
    """
    expected = by_learner(learn, photos, temperature, score or Probability())
    return let_through(model, photos, list(learn.dls.vocab), *expected)


def let_through(model: Path, photos: Mapping[str, bytes], vocab: list[str], expected, strangeness):
    """Return the gate's report, or raise GateError, given what the function must answer."""
    report = pd.DataFrame(by_function(model, photos, vocab, expected, strangeness))
    report = report.set_index("photo").sort_values(
        ["passed", "difference"], ascending=[True, False]
    )
    if not report["passed"].all():
        raise GateError(report)
    return report


def by_learner(learn: Learner, photos: Mapping[str, bytes], temperature: float, score: Score):
    """Ask the Learner: probabilities [N, C] and strangeness [N], float32, on the CPU."""
    seen = look(learn, photos.values())
    logits, embedding = (
        torch.from_numpy(each) for each in (seen.logits / temperature, seen.embedding)
    )
    with torch.no_grad():
        return logits.softmax(1).numpy(), score(embedding, logits).numpy()


def by_file(model: Path, photos: Mapping[str, bytes]):
    """Ask the file without the function: probabilities [N, C] and strangeness [N]."""
    outputs = asked(Classifier(model), photos.values())
    return outputs.probability, outputs.unknown


def by_function(model: Path, photos: Mapping[str, bytes], vocab: list[str], expected, strangeness):
    """Ask the function for each photo, and compare with what is expected."""
    app = create_app(model, Settings(log=False))
    if app.state.fault:
        raise ModelError(app.state.fault)
    client = TestClient(app)
    for (name, data), row, strange in zip(photos.items(), expected, strangeness, strict=True):
        order = row.argsort()[::-1]
        line = {"photo": name, "learner": vocab[order[0]], "function": None, "difference": 1.0}
        line["unknown"] = 1.0
        response = client.post("/api/classify", params={"top": len(vocab)}, content=data)
        if response.status_code != 200:
            yield line | {"function": response.text, "passed": False}
            continue
        answers = {p["label"]: p["probability"] for p in response.json()["predictions"]}
        first = next(iter(answers))
        if set(answers) == set(vocab):
            line["difference"] = max(
                abs(answers[label] - float(p)) for label, p in zip(vocab, row, strict=True)
            )
        found = response.json()["answer"]["unknown_score"]
        line["unknown"] = abs(found - float(strange)) / max(1.0, abs(float(strange)))
        tie = len(order) > 1 and row[order[0]] - row[order[1]] <= TIE
        near = max(line["difference"], line["unknown"]) <= TOLERANCE
        yield line | {"function": first, "passed": near and (tie or first == line["learner"])}
