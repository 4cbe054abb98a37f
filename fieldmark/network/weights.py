"""Pretrained weights: find, load and describe them, those of an earlier run included."""

import hashlib
import os
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import pandas as pd
import timm
import torch
from httpx2 import HTTPError
from huggingface_hub import (
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.constants import HF_HUB_CACHE
from huggingface_hub.errors import EntryNotFoundError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from fieldmark.disk import explain
from fieldmark.errors import NetworkError, WeightsError
from fieldmark.files import sha256_file
from fieldmark.run_folder import RunFolder, read_table, read_weights_card

if TYPE_CHECKING:
    from fieldmark.network.network import Network

VARIABLE = "FIELDMARK_WEIGHTS"
HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # as timm names them
SHA256_LENGTH = 64
HUB_TIMEOUT = 5  # seconds for the hub to say that it has a file
BACKBONE, HEAD = "0.model.", "1."  # prefixes of the tensors in a run's weights
RUN_FACTS = ("name", "version", "weights", "teacher")  # of the card of a run that was the start


def resolve_weights(weights: str, variable: str = VARIABLE) -> str:
    """Return the environment variable in place of a recipe's `weights`, if it is set."""
    return os.environ.get(variable) or weights


def find_weights_file(weights: str, variable: str = VARIABLE) -> Path | None:
    """Return the file that `weights` names, None for `pretrained` and `random`.

    Raises WeightsError if the file does not exist.
    """
    if weights in ("pretrained", "random"):
        return None
    if not Path(weights).is_file():
        raise WeightsError(
            f"There is no weights file {weights}. Put it there, or set {variable} to a file, to "
            "`pretrained` (downloaded) or to `random`."
        )
    return Path(weights)


def fetch_weights(arch: str, weights: str, variable: str = VARIABLE) -> None:
    """Download the `pretrained` weights of a timm network, unless they are on this machine.

    Those in the hub's cache are downloaded again if they are damaged. Raises WeightsError, within
    seconds if the network is down, unless the weights are there, and DiskError if the cache cannot
    be written to.
    """
    if file := find_weights_file(weights, variable):
        check_header(file)
    if file or weights == "random":
        return
    if cached := cached_weights(arch):
        blob = cached.resolve()  # the hub names files by their SHA-256
        if len(blob.name) != SHA256_LENGTH or sha256_file(blob) == blob.name:
            return
        print(f"{cached} is damaged and is downloaded again.")
        blob.unlink()
        cached.unlink(missing_ok=True)
    config = timm.get_pretrained_cfg(arch)
    remedy = f"set `weights` or {variable} to a file that holds them, or to `random`"
    if config is None or not config.has_weights:
        raise WeightsError(f"timm has no weights of {arch}. Name another `arch`, or {remedy}.")
    if not config.hf_hub_id:  # 19 old networks, whose weights timm loads from an address
        return
    error: Exception | None = None
    for name in HUB_FILES:
        try:
            address = hf_hub_url(config.hf_hub_id, name)
            get_hf_file_metadata(address, timeout=HUB_TIMEOUT)  # without retries
            hf_hub_download(config.hf_hub_id, name)
        except EntryNotFoundError as missing:
            error = missing
        except (OSError, HTTPError) as failure:
            if explanation := explain(failure, Path(HF_HUB_CACHE)):
                raise explanation from failure
            error = failure
            break
        else:
            return
    raise WeightsError(
        f"The pretrained weights of {arch} cannot be downloaded from {address}: "
        f"{str(error).rstrip('.')}. Connect to the internet once, or {remedy}."
    ) from error


def check_header(file: Path) -> None:
    """Raise WeightsError if a safetensors file is truncated or none."""
    if file.suffix != ".safetensors":
        return
    try:
        with safe_open(file, "np"):
            pass
    except (SafetensorError, ValueError) as error:
        raise WeightsError(f"{file} is damaged ({error}). Copy or download it again.") from error


def cached_weights(arch: str) -> Path | None:
    """Return the file of a network's pretrained weights in the hub's cache, None without one."""
    config = timm.get_pretrained_cfg(arch)
    if config is None or not config.hf_hub_id:
        return None
    files = [try_to_load_from_cache(config.hf_hub_id, name) for name in HUB_FILES]
    return next((Path(file) for file in files if isinstance(file, str)), None)


def load_pretrained(
    arch: str, weights: str, num_classes: int = 0, variable: str = VARIABLE, **options: Any
) -> nn.Module:
    """Return a timm network with pretrained weights; `options` go to timm.create_model.

    `weights` is `pretrained` (timm downloads them), `random`, a file that timm can load, or the
    weights of a run. With `num_classes`, the number of classes in the weights, the network keeps
    its pretrained classifier. Raises WeightsError, which names the environment `variable`, if the
    weights are missing or of another network, NetworkError for options that timm does not know.
    """
    file = find_weights_file(weights, variable)
    if weights == "pretrained":
        file = cached_weights(arch)  # timm would ask the hub about it first
    if file and not num_classes and (card := read_weights_card(file)):
        if card["architecture"] != arch:
            raise WeightsError(f"{file} holds weights of {card['architecture']}, not of {arch}.")
        network = timm.create_model(arch, num_classes=0, **options)
        network.load_state_dict(tensors_with_prefix(file, BACKBONE))
        return network
    overlay = {"file": str(file)} if file else {}
    overlay |= {"num_classes": num_classes} if num_classes else {}
    keywords = {"pretrained_cfg_overlay": overlay} if overlay else {}
    keywords |= {"pretrained": weights != "random", "num_classes": num_classes}
    try:
        return timm.create_model(arch, **keywords, **options)
    except OSError as error:
        if explanation := explain(error, file or Path(HF_HUB_CACHE)):
            raise explanation from error
        raise WeightsError(
            f"The pretrained weights of {arch} cannot be downloaded. Connect to the internet once, "
            f"or set {variable} to a file that holds them, or to `random`."
        ) from error
    except (SafetensorError, UnpicklingError, EOFError, BadZipFile) as error:
        raise WeightsError(f"{file} is damaged ({error}). Copy or download it again.") from error
    except RuntimeError as error:  # torch's message lists every tensor
        if not file:
            raise
        classes = f" with {num_classes} classes" if num_classes else ""
        raise WeightsError(
            f"{file} does not hold weights of {arch}{classes}, or is damaged."
        ) from error
    except TypeError as error:
        if not options:
            raise
        raise NetworkError(f"timm cannot create {arch} with `arch_options` ({error}).") from error


def load_head(network: "Network", file: Path | None) -> None:
    """Load the head that a run saved.

    Raises WeightsError if `file` is not the weights of a run, or if its labels differ.
    """
    card = read_weights_card(file) if file else None
    if not card:
        raise WeightsError("`head_init: weights` needs `weights` to be the weights of a run.")
    classes = list(card.get("subclasses") or [label["label"] for label in card["labels"]])
    if classes != network.classes:
        raise WeightsError(
            f"{file} was trained on other labels. Leave `head_init` out: the backbone keeps its "
            "weights, and the head is trained from the start."
        )
    network.head.load_state_dict(tensors_with_prefix(file, HEAD))


def describe_weights(weights: str) -> dict:
    """Return the card's entry `weights`: `pretrained`, `random`, or file name and SHA-256.

    For the weights of a run, also that model's name, version and own start.
    """
    file = find_weights_file(weights)
    if not file:
        return {"start": weights, "sha256": None}
    facts = {"start": file.name, "sha256": sha256_file(file)}
    if card := read_weights_card(file):
        facts["run"] = {key: card[key] for key in RUN_FACTS if key in card}
    return facts


def weights_digest(weights: dict[str, torch.Tensor]) -> str:
    """Return the SHA-256 of names and values of weights."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].numpy().tobytes())
    return digest.hexdigest()


def load_run_weights(file: Path) -> dict[str, torch.Tensor]:
    """Return the weights that a run saved; raises WeightsError unless they are as they were saved.

    The version in their card ends with the start of their digest.
    """
    weights, version = load_file(file), (read_weights_card(file) or {}).get("version")
    if version and not version.endswith(weights_digest(weights)[:8]):
        raise WeightsError(
            f"{file} is damaged: its weights do not have the checksum in its card. Copy it from a "
            "backup or from where it was published, or train again."
        )
    return weights


def tensors_with_prefix(file: Path, prefix: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a run whose names start with `prefix`, without the prefix."""
    return {
        name.removeprefix(prefix): value
        for name, value in load_run_weights(file).items()
        if name.startswith(prefix)
    }


def previous_splits(file: Path | None) -> pd.Series | None:
    """Return the split of each photo, by its path, in the run that saved these weights.

    None if they are not the weights of a run. Raises WeightsError if its split.csv is missing.
    """
    if not file or not read_weights_card(file):
        return None
    split = RunFolder(file.parent).split_file
    if not split.is_file():
        raise WeightsError(
            f"{split} is missing: it lists the photos that {file} was trained on. Copy it there "
            "from the run."
        )
    return read_table(split).set_index("path")["split"]


def check_previous_splits(previous: pd.Series | None, photos: pd.DataFrame) -> None:
    """Raise WeightsError if the previous run trained on, or selected by, photos evaluated here."""
    if previous is None:
        return
    before, now = photos["path"].map(previous), photos["split"]
    leaked = (before == "train") & (now != "train")
    leaked |= (before == "valid") & ~now.isin(["train", "valid"])
    if leaked.any():
        raise WeightsError(
            f"Train/test leak: the run behind `weights` was trained on {leaked.sum()} photos that "
            f"are evaluated here, such as {photos['path'][leaked].min()}. Start from other "
            "weights, or move these photos to `train`."
        )
