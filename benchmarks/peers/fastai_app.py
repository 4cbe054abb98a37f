"""Serve fastai's `learn.predict` with FastAPI, one photo at a time, as it is not thread-safe.

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

SPLITS = ("train", "valid")
app = FastAPI()
one_at_a_time = threading.Lock()


def load_learner(run: Path) -> Learner:
    """Return a Learner around a run's network; black photos stand in for those of each label."""
    network = Network.load(run)
    size = network.preparation.size
    black = drawn.encode_photo(np.zeros((size, size, 3), np.uint8))
    with tempfile.TemporaryDirectory() as folder:
        for split in SPLITS:
            Path(folder, f"{split}.jpg").write_bytes(black)
        rows = [(split, label, f"{split}.jpg") for label in network.labels for split in SPLITS]
        photos = pd.DataFrame(rows, columns=["split", "label", "path"])
        dls = make_dataloaders(photos, Path(folder), **asdict(network.preparation))
    return make_learner(network, dls)


learn = load_learner(Path(os.environ["FIELDMARK_MODEL"]).parent)


@app.post("/classify")
async def classify(request: Request) -> dict:
    """Return the five best labels for the photo in the body."""
    return await run_in_threadpool(predict, await request.body())


def predict(data: bytes) -> dict:
    """Classify a photo."""
    with one_at_a_time, learn.no_bar(), learn.no_logging():
        _, _, probability = learn.predict(PhotoFile(data))
    values, indices = probability.topk(5)
    names = [learn.dls.vocab[index] for index in indices]
    return dict(zip(names, values.tolist(), strict=True))
