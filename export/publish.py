"""Turn a trained Learner into birds.onnx, and what it takes to make the file again."""

import hashlib
import json
import tempfile
from datetime import date
from pathlib import Path

import pandas as pd
import torch
import yaml
from fastai.vision.all import Learner
from safetensors.torch import save

from birds import drawn, photo
from birds.classifier import Classifier

from . import card as cards
from . import model_file, promises
from .checks import check
from .gate import GateError, gate
from .graph import Graph
from .look import look
from .promises import Promises

FILES = ("birds.onnx", "birds.safetensors", "split.csv", "recipe.yaml")
REPORT = "gate.csv"
DEFAULTS = Promises()


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
    learn.model.cpu().float().eval()
    learn.dls.cpu()
    judged = photos[photos["split"].isin(["tune", "calibrate"])]
    calibrate = promises.Part.of(
        photos[photos["split"] == "calibrate"], folder, list(learn.dls.vocab)
    )
    right = look(learn, calibrate.paths).logits.argmax(1) == calibrate.truth
    model_file.round_to_half(learn.model)
    fitted = promises.fit(learn, photos, folder, promised)
    graph = Graph(learn, fitted.temperature, fitted.score).eval()
    model = model_file.to_onnx(graph, size)
    weights = halves(learn.model)
    card = (
        {"accuracy_before_rounding": cards.share(int(right.sum()), len(right))}
        | facts
        | {
            "version": f"{date.today():%Y.%m.%d}-{digest(weights)[:8]}",
            "labels": cards.labels(list(learn.dls.vocab)),
            "preparation": cards.preparation(size, filter, graph),
            "data": fingerprint(photos, folder),
            "temperature": graph.temperature,
            "heatmap": graph.map_size,
            "thresholds": None,
            "drawn_photo": cards.drawn_outputs(graph, size),
            "opset": model_file.OPSET,
            "versions": cards.versions(),
        }
    )
    everything = {path: (folder / path).read_bytes() for path in judged["path"]}
    everything |= {f"drawn: {name}": data for name, data in drawn.awkward().items()}
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as name:
        scratch = Path(name)
        file = scratch / "birds.onnx"
        model_file.write(model, card, file)
        card |= promises.keep(Classifier(file), photos, folder, fitted, promised)
        model_file.write(model, card, file)
        alone = check(file, everything)
        try:
            report = gate(learn, file, everything, fitted.temperature, fitted.score)
        except GateError as error:
            error.report.to_csv(out / REPORT)
            raise
        card["gate"] = {
            "photos": len(report),
            "largest_difference": float(report["difference"].max()),
        } | alone
        model_file.write(model, card, file)
        (scratch / "birds.safetensors").write_bytes(save(weights, {"card": json.dumps(card)}))
        photos.to_csv(scratch / "split.csv", index=False)
        recipe = yaml.safe_dump(card["recipe"], sort_keys=False, allow_unicode=True)
        (scratch / "recipe.yaml").write_text(recipe, encoding="utf-8")
        report.to_csv(scratch / REPORT)
        for each in scratch.iterdir():
            each.replace(out / each.name)
    return card


def halves(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the state dict with matrices as float16, which holds the rounded ones exactly."""
    return {
        name: (tensor.half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor)
        .contiguous()
        .clone()
        for name, tensor in model.state_dict().items()
    }


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
