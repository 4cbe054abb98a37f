"""Serve fastai's `learn.predict` by FastAPI, one photo after the other: it can't do two at once.

uvicorn benchmarks.peers.fastai_app:app
"""

import json
import os
import tempfile
import threading
from pathlib import Path

import numpy as np
import pandas as pd
from fastai.vision.all import Learner
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from safetensors import safe_open
from safetensors.torch import load_file

from birds import drawn
from fieldmark.data.loaders import PhotoFile, dataloaders
from fieldmark.training.learner import learner

app = FastAPI()
one_at_a_time = threading.Lock()


def load(weights: Path) -> Learner:
    """Put the shipped weights into a Learner; a black photo stands in for those of each label."""
    with safe_open(weights, "pt") as file:
        card = json.loads(file.metadata()["card"])
    labels = sorted(pd.read_csv(weights.with_name("split.csv"))["label"].unique())
    size, mean, std = (card["preparation"][key] for key in ("size", "mean", "std"))
    with tempfile.TemporaryDirectory() as folder:
        black = np.zeros((size, size, 3), np.uint8)
        Path(folder, "black.jpg").write_bytes(drawn.encode_photo(black))
        rows = [(part, label, "black.jpg") for label in labels for part in ("train", "valid")]
        photos = pd.DataFrame(rows, columns=["split", "label", "path"])
        dls = dataloaders(photos, Path(folder), size, mean, std)
    options = card["recipe"].get("arch_options", {})
    learn = learner(dls, card["architecture"], "random", **options)
    learn.model.load_state_dict(load_file(weights))
    return learn


learn = load(Path(os.environ["FIELDMARK_MODEL"]).with_name("birds.safetensors"))


@app.post("/classify")
async def classify(request: Request) -> dict:
    """Name the bird in the body."""
    return await run_in_threadpool(answer, await request.body())


def answer(data: bytes) -> dict:
    """Predict, and take the five best."""
    with one_at_a_time, learn.no_bar(), learn.no_logging():
        _, _, probability = learn.predict(PhotoFile(data))
    values, indices = probability.topk(5)
    names = [learn.dls.vocab[index] for index in indices]
    return dict(zip(names, values.tolist(), strict=True))
