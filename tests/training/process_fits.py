"""Fit a tiny network in one process of several, for tests: both give the same weights."""

import os
from dataclasses import asdict
from pathlib import Path

import torch
from fastai.vision.all import set_seed

from fieldmark.data import loaders
from fieldmark.data.cache import build_cache
from fieldmark.data.survey import survey_photos
from fieldmark.network.preparation import Preparation
from fieldmark.run import Run
from fieldmark.training import distributed
from fieldmark.training.fit import accumulation_callbacks, fit_phase
from fieldmark.training.learner import embed_splits
from tests.conftest import ARCH, create_learner

SIZE = 32
PLAIN = {"min_crop_area": 1.0, "shrink_share": 0.0, "min_resolution": 1.0, "flip": False}
PLAIN |= {"max_rotate": 0.0, "max_warp": 0.0, "max_lighting": 0.0}


def fit(rank, count, port, table, folder, weights, scratch, batch_size=8) -> dict:
    """Fit two epochs without augmentation; return weights, history, files and embeddings."""
    torch.set_num_threads(1)
    variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    variables |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in variables.items()}
    distributed.join()
    set_seed(rank)  # processes may start with other weights than the first
    preparation = Preparation.for_arch(ARCH, SIZE)
    cache = build_cache(table, survey_photos(table, folder), folder, SIZE, caches=scratch / "cache")
    options = asdict(preparation) | PLAIN | {"batch_size": batch_size, "cache": cache}
    dls = loaders.make_dataloaders(table, folder, **options)
    learn = create_learner(dls, weights, size=SIZE, dropout=0.0, batch_norm="train")
    embeddings = embed_splits(learn, folder)["valid"][0]
    run = Run(scratch / f"{count}-{rank}").begin({}, table)
    cbs = accumulation_callbacks(2, batch_size)
    learn.unfreeze()
    with learn.no_bar(), learn.no_logging():
        checkpoint = fit_phase(learn, run, "fine-tuning", 2, 0.003, ema_decay=0.5, cbs=cbs)
    distributed.leave()
    return {
        "weights": {name: value.clone() for name, value in learn.model.state_dict().items()},
        "history": checkpoint.history.drop(columns=["phase", "seconds"]),
        "files": sorted(path.name for path in Path(run.folder).rglob("*")),
        "embeddings": embeddings,
    }
