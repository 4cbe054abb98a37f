"""Serve fastai's `learn.predict` by FastAPI, one photo after the other: it can't do two at once.

uvicorn benchmarks.peers.fastai_app:app
"""

import os
import tempfile
import threading
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from fastai.vision.all import Learner
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool

from birds import drawn
from fieldmark.data.loaders import PhotoFile, make_dataloaders
from fieldmark.network.network import Network
from fieldmark.training.learner import make_learner

app = FastAPI()
one_at_a_time = threading.Lock()


def load(run: Path) -> Learner:
    """Return a Learner around a run's network; a black photo stands in for those of each label."""
    network = Network.load(run)
    preparation = network.preparation
    with tempfile.TemporaryDirectory() as folder:
        black = np.zeros((preparation.size, preparation.size, 3), np.uint8)
        Path(folder, "black.jpg").write_bytes(drawn.encode_photo(black))
        splits = ("train", "valid")
        rows = [(split, label, "black.jpg") for label in network.labels for split in splits]
        photos = pd.DataFrame(rows, columns=["split", "label", "path"])
        dls = make_dataloaders(photos, Path(folder), **asdict(preparation))
    return make_learner(network, dls)


learn = load(Path(os.environ["FIELDMARK_MODEL"]).parent)


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
