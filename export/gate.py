"""The gate: a model file is let through only if it answers real photos as the Learner does."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from fastai.vision.all import Learner
from fastapi.testclient import TestClient

from birds.api import create_app
from birds.classifier import ModelError
from birds.settings import Settings

TIE = 1e-4
TOLERANCE = 1e-3


class GateError(RuntimeError):
    """A model file that answers otherwise than its Learner; `report` shows the worst photos."""

    def __init__(self, report: pd.DataFrame):
        self.report = report
        bad = report[~report["passed"]]
        super().__init__(
            f"{len(bad)} of {len(report)} photos get another answer from the model file than from "
            f"the Learner, so no model was written. The worst:\n{bad.head(10).to_string()}"
        )


def gate(
    learn: Learner, model: Path, photos: Mapping[str, bytes], temperature: float = 1.0
) -> pd.DataFrame:
    """Return a row a photo, the worst first, or raise GateError; ModelError if it can't be served.

    The bytes of each photo go through the Learner's validation path and, over HTTP, through the
    function's. The first answers must be equal, unless the Learner's two best are within TIE of
    each other, and every probability within TOLERANCE.
    """
    report = pd.DataFrame(
        by_function(model, photos, list(learn.dls.vocab), by_learner(learn, photos, temperature))
    ).set_index("photo")
    report = report.sort_values(["passed", "difference"], ascending=[True, False])
    if not report["passed"].all():
        raise GateError(report)
    return report


def by_learner(learn: Learner, photos: Mapping[str, bytes], temperature: float):
    """Ask the Learner: probabilities, float32 [N, C], on the CPU."""
    loader = learn.dls.test_dl(list(photos.values()), rm_type_tfms=1, num_workers=0)
    with learn.no_bar(), learn.no_logging():
        logits, _ = learn.get_preds(dl=loader, act=lambda logits: logits)
    return (logits.float() / temperature).softmax(1).numpy()


def by_function(model: Path, photos: Mapping[str, bytes], vocab: list[str], expected):
    """Ask the function for each photo, and compare with what is expected."""
    app = create_app(model, Settings(log=False))
    if app.state.fault:
        raise ModelError(app.state.fault)
    client = TestClient(app)
    for (name, data), row in zip(photos.items(), expected, strict=True):
        order = row.argsort()[::-1]
        line = {"photo": name, "learner": vocab[order[0]], "function": None, "difference": 1.0}
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
        tie = len(order) > 1 and row[order[0]] - row[order[1]] <= TIE
        passed = line["difference"] <= TOLERANCE and (tie or first == line["learner"])
        yield line | {"function": first, "passed": passed}
