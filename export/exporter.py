"""Turn a trained Learner into birds.onnx, and what it takes to make the file again."""

import hashlib
import tempfile
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from fastai.vision.all import Learner
from scipy.special import softmax

from birds import drawn, photo
from birds.classifier import Classifier
from export import card as cards
from export import drop, model_file, tolerance
from export import weights_dtype as precision
from export.checks import check
from export.gate import GateError, by_file, gate, let_through
from export.graph import ExportError, Graph
from export.look import look
from fieldmark.evaluation import measure
from fieldmark.evaluation import uncertainty as promises
from fieldmark.evaluation.uncertainty import Promises
from fieldmark.run import Run
from fieldmark.statistics import wilson_interval

FILES = tuple(file.name for file in Run("").model_files)
REPORT = Run("").gate_report_file.name
DEFAULTS = Promises()
TRIED = 50  # photos that tell how far apart two processors are


def publish(
    learn: Learner,
    photos: pd.DataFrame,
    folder: Path,
    size: int,
    facts: dict,
    out: Path,
    filter: str = photo.FILTER,
    promised: Promises = DEFAULTS,
) -> dict:
    """Round, calibrate, export, measure, pass the gate, and write the files of a model into `out`.

    `photos` is the split table, `folder` holds its paths, prepared to `size` by `filter`; `facts`
    are the card entries that only the training knows (`name`, `trained_on`, `licence`,
    `architecture`, `weights`, `recipe` ...). Returns the card. Raises GateError, having
    written nothing but gate.csv, if the answers differ, FileFault for a file at odds with itself.
    """
    if promised.stored == "int8" and "members" in facts:
        raise ExportError("Several networks as one can't compute in 8 bits; store them as fp16.")
    learn.model.cpu().float().eval()
    learn.dls.cpu()
    # what is rounded and stored otherwise is held to what the Learner answers now
    judged = photos[photos["split"].isin(["valid", "calibration"])]
    part = promises.Part.of(judged, folder, list(learn.dls.vocab))
    before = look(learn, part.paths).logits
    right = (before.argmax(1) == part.truth)[judged["split"] == "calibration"]
    if promised.stored != "fp32":
        learn.network.round_to_half()
    fitted = promises.fit(learn, photos, folder, promised)
    graph = Graph(learn.network, fitted.temperature, fitted.score).eval()
    pixels = None
    if promised.stored == "int8":
        teaching = [(folder / path).read_bytes() for path in precision.calibration(photos)]
        pixels = np.stack([photo.prepare(data, size, filter) for data in teaching])
    model = precision.stored(model_file.to_onnx(graph, size), promised.stored, pixels)
    weights = learn.network.stored_weights(promised.stored)
    card = (
        {"accuracy_before_rounding": wilson_interval(int(right.sum()), len(right))}
        | facts
        | {
            "version": version(promised.stored, weights),
            "labels": cards.labels(list(learn.dls.vocab)),
            "preparation": cards.preparation(size, filter, graph),
            "data": fingerprint(photos, folder),
            "temperature": graph.temperature,
            "precision": promised.stored,
            "heatmap": graph.map_size,
            "thresholds": None,
            "drawn_photo": cards.drawn_outputs(graph, size),
            "tolerance": None,
            "opset": model_file.OPSET,
            "versions": cards.versions(),
        }
    )
    if pixels is not None:
        card["drawn_photo"] = tolerance.drawn_outputs(model, size)
        card["tolerance"] = tolerance.tolerances(model, pixels[:TRIED])
    everything = {path: (folder / path).read_bytes() for path in judged["path"]}
    everything |= {f"drawn: {name}": data for name, data in drawn.awkward_photos().items()}
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as name:
        scratch = Path(name)
        file = scratch / "birds.onnx"
        model_file.write(model, card, file)
        card |= promises.keep(Classifier(file), photos, folder, fitted, promised)
        model_file.write(model, card, file)
        alone = check(file, everything)
        try:
            report = passed(learn, file, everything, fitted, promised.stored)
            lost = drop.check(
                promised.stored,
                softmax(before / fitted.temperature, axis=1),
                measure.asked(Classifier(file), part.paths).probability,
                part.truth,
            )
        except GateError as error:
            error.report.to_csv(out / REPORT)
            raise
        card["gate"] = alone | {
            "photos": len(report),
            "largest_difference": float(report["difference"].max()),
            "agreement": lost["agreement"],
            "accuracy_drop": lost["accuracy_drop"],
        }
        model_file.write(model, card, file)
        learn.network.save(scratch / "birds.safetensors", card, promised.stored)
        photos.to_csv(scratch / "split.csv", index=False)
        recipe = yaml.safe_dump(card["recipe"], sort_keys=False, allow_unicode=True)
        (scratch / "recipe.yaml").write_text(recipe, encoding="utf-8")
        report.to_csv(scratch / REPORT)
        for each in scratch.iterdir():
            each.replace(out / each.name)
    return card


def version(stored: str, weights: dict[str, torch.Tensor]) -> str:
    """Name a file by its day, its precision if that isn't the usual one, and its weights."""
    usual = "" if stored == precision.DEFAULT else f"{stored}-"
    return f"{date.today():%Y.%m.%d}-{usual}{digest(weights)[:8]}"


def passed(learn: Learner, file: Path, photos: dict, fitted: promises.Fitted, stored: str):
    """Return the gate's report: the function against the Learner.

    8 bits answer otherwise than a Learner, by how much is measured on its own; the function must
    then answer as the file does that was measured.
    """
    if stored != "int8":
        return gate(learn, file, photos, fitted.temperature, fitted.score)
    return let_through(file, photos, list(learn.dls.vocab), *by_file(file, photos))


def digest(weights: dict[str, torch.Tensor]) -> str:
    """Return the SHA-256 of the weights."""
    found = hashlib.sha256()
    for name in sorted(weights):
        found.update(name.encode() + weights[name].numpy().tobytes())
    return found.hexdigest()


def fingerprint(photos: pd.DataFrame, folder: Path) -> dict:
    """Count the photos of each part and fingerprint names, labels, parts and bytes."""
    found = hashlib.sha256()
    for path, label, part in photos[["path", "label", "split"]].itertuples(index=False):
        content = hashlib.sha256((folder / path).read_bytes()).hexdigest()
        found.update(f"{path}\t{label}\t{part}\t{content}\n".encode())
    counts = {part: int(n) for part, n in photos["split"].value_counts().items()}
    return {"photos": counts, "sha256": found.hexdigest()}
