"""Train in several processes, each on its part of every batch, as one process would.

The processes are started by `fieldmark train --processes`, torchrun or accelerate. Every process
runs the same notebook up to the trained network. Outside of a fit fastai sees one process only: it
would gather each loss that it averages, whether or not the other processes compute one.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.distributed as dist
from accelerate.utils import DistributedDataParallelKwargs
from fastai.vision.all import Learner
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from fieldmark.errors import LostProcessError, TrainingError
from fieldmark.ranks import VARIABLES, Ranks, read_ranks
from fieldmark.training.batch_statistics import shared_batch_statistics
from fieldmark.training.process_loader import ProcessLoader

TIMEOUT = timedelta(minutes=30)  # as torch's; process 0 may decode photos or write meanwhile
CPU = torch.device("cpu")

_variables: dict[str, str] = {}  # of the launcher, while processes train together


def join() -> None:
    """Connect this process with the others, if a launcher started several.

    Raises TrainingError if there are fewer GPUs than processes on this machine, and
    LostProcessError if the others do not come within TIMEOUT.
    """
    ranks = read_ranks()
    if ranks.size == 1 or dist.is_initialized():
        return
    if has_gpu := torch.cuda.is_available():
        if ranks.local_rank >= (gpus := torch.cuda.device_count()):
            raise TrainingError(
                f"Process {ranks.local_rank} of this machine has no GPU: there are {gpus}. Start "
                "one process per GPU."
            )
        torch.cuda.set_device(ranks.local_rank)
    with lost_process_reported():
        dist.init_process_group("cpu:gloo,cuda:nccl" if has_gpu else "gloo", timeout=TIMEOUT)
    _variables.update({name: os.environ.pop(name) for name in VARIABLES if name in os.environ})


def leave() -> None:
    """Wait until all processes are trained, and go on as a single one."""
    if is_joined():
        with lost_process_reported():
            dist.barrier()
        dist.destroy_process_group()
        _variables.clear()


def is_joined() -> bool:
    """Return whether this process trains together with others."""
    return bool(_variables)


def ranks() -> Ranks:
    """Return which of the processes this one is."""
    return read_ranks(_variables)


def share(value: Any) -> Any:
    """Return the value that the first process has, in every process."""
    if not is_joined():
        return value
    values = [value]
    with lost_process_reported():
        dist.broadcast_object_list(values, src=0, device=CPU)
    return values[0]


def compute_first(function: Callable, *arguments: Any) -> Any:
    """Return what a function returns in the first process; the others wait for it."""
    return share(None if ranks().rank else function(*arguments))


def compute_in_parts(function: Callable[[Sequence], np.ndarray], items: Sequence) -> np.ndarray:
    """Return an array with a row per item, each computed by one of the processes.

    `function` computes the rows of some items, in their order.
    """
    _, _, size = ranks()
    if not is_joined() or len(items) < size:
        return function(items)
    part = function(items[ranks().rank :: size])
    parts: list[Any] = [None] * size
    with lost_process_reported():
        dist.all_gather_object(parts, part)
    rows = np.empty((len(items), *part.shape[1:]), part.dtype)
    for rank, part in enumerate(parts):
        rows[rank::size] = part
    return rows


def share_weights(module: nn.Module) -> None:
    """Give every process the weights and running statistics of the first."""
    if is_joined():
        state = {name: value.cpu() for name, value in module.state_dict().items()}
        module.load_state_dict(share(state))


def average_gradients(module: nn.Module) -> None:
    """Average the gradients of a module that is not part of the Learner's model."""
    for parameter in module.parameters() if is_joined() else []:
        dist.all_reduce(parameter.grad)
        parameter.grad /= ranks().size


def check_agreement(identity: str) -> None:
    """Raise TrainingError unless all processes have the same parameters and photos."""
    if share(identity) != identity:
        raise TrainingError(
            f"Process {ranks().rank} has other photos or parameters than process 0. Give every "
            "machine the same photos, recipe, weights and version of Fieldmark."
        )


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model itself, without what averages its gradients."""
    return model.module if isinstance(model, DistributedDataParallel) else model


@contextmanager
def distributed_fit(learn: Learner) -> Iterator[None]:
    """Fit within this block on a part of every batch, with averaged gradients.

    `sync_bn` is off: fastai's way needs GPUs and breaks timm's batch norms, so they are
    synchronised by `shared_batch_statistics`. Raises TrainingError if the processes cannot share a
    batch equally.
    """
    if not is_joined():
        yield
        return
    rank, _, size = ranks()
    if learn.dls.bs % size:
        raise TrainingError(
            f"{size} processes cannot share a batch of {learn.dls.bs} photos equally. Set "
            f"`batch_size: {-(-learn.dls.bs // size) * size}`, or start another number of them."
        )
    loaders, on_cpu = learn.dls.loaders, learn.dls.device.type == "cpu"
    options = {"sync_bn": False, "cpu": on_cpu}
    options["kwargs_handlers"] = [
        DistributedDataParallelKwargs(broadcast_buffers=False)  # running statistics are equal
    ]
    with patch.dict(os.environ, _variables), lost_process_reported():
        try:
            learn.dls.loaders = [ProcessLoader(loader, rank, size, share) for loader in loaders]
            with learn.distrib_ctx(**options), shared_batch_statistics():
                yield
        finally:
            learn.dls.loaders = loaders


@contextmanager
def lost_process_reported() -> Iterator[None]:
    """Raise LostProcessError where torch reports that another process does not answer."""
    try:
        yield
    except (dist.DistError, RuntimeError) as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise LostProcessError(
                f"Process {ranks().rank} lost the connection to another one, which ended or did "
                f"not answer for {TIMEOUT.seconds // 60} minutes. See its error; then start the "
                "same command again. An interrupted training continues after its last complete "
                "epoch."
            ) from error
        raise
