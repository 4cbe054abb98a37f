"""A network with everything that is needed to use it: labels, preparation, backbone and head."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import nn

from fieldmark.files import write_bytes
from fieldmark.network.backbone import Backbone, timm_options
from fieldmark.network.ensemble import create_joined_model
from fieldmark.network.half import round_to_half, stored_weights
from fieldmark.network.head import create_head
from fieldmark.network.preparation import Preparation
from fieldmark.network.weights import load_pretrained, load_run_weights
from fieldmark.run import Run


@dataclass(eq=False)
class Network:
    """A classifier of photos: a backbone and a head in `model`, and how photos are prepared.

    `arch` and `arch_options` are timm's name and options, `labels` the C species. `subclasses` are
    the names of the B classes that the logits tell apart, with their species; empty where the
    classes are the labels. `pretrained` is False for a network that starts from random weights.
    `members` are timm's options of each backbone of an ensemble.
    """

    arch: str
    arch_options: dict[str, Any]
    labels: list[str]
    preparation: Preparation
    model: nn.Sequential
    pretrained: bool = True
    members: list[dict] = field(default_factory=list)
    subclasses: dict[str, str] = field(default_factory=dict)

    @classmethod
    def create(
        cls,
        arch: str,
        classes: Iterable[str],
        preparation: Preparation,
        weights: str = "pretrained",
        dropout: float = 0.2,
        **arch_options: Any,
    ) -> "Network":
        """Create a network with a new head; `arch_options` go to timm.

        `classes` are the labels, or a mapping from sub-classes to their labels.
        `weights` are those of the backbone: `pretrained` (timm downloads them), `random`, a file
        that timm can load, or the weights of a run. Raises WeightsError if they are missing or of
        another network, NetworkError for a size or options that the architecture does not accept.
        """
        options = timm_options(arch, preparation.size, **arch_options)
        backbone = Backbone(load_pretrained(arch, weights, **options), preparation.size)
        classes = (
            dict(classes) if isinstance(classes, Mapping) else {name: name for name in classes}
        )
        labels = list(dict.fromkeys(classes.values()))
        head = create_head(backbone.width, len(classes), dropout)
        model = nn.Sequential(backbone, head)
        pretrained = weights != "random"
        subclasses = classes if list(classes) != labels else {}
        facts = {"pretrained": pretrained, "subclasses": subclasses}
        return cls(arch, arch_options, labels, preparation, model, **facts)

    @classmethod
    def load(
        cls, run: Run | Path, snapshot: Path | None = None, *, check_preparation: bool = True
    ) -> "Network":
        """Load the network of a run, a folder or a Run, with the weights as they were rounded.

        `snapshot` is a file with other weights of the same network. Raises RunError if the run has
        no weights, or, unless `check_preparation` is False, if photos are prepared otherwise now.
        """
        run = run if isinstance(run, Run) else Run(run)
        card = run.card
        preparation = Preparation.from_card(card)
        if check_preparation:
            preparation.check_fingerprints(card["preparation"])
        labels = [label["label"] for label in card["labels"]]
        subclasses = card.get("subclasses", {})
        arch, members = card["architecture"], card.get("members", [])
        if members:
            model = create_joined_model(members, preparation.size, len(subclasses or labels))
            facts = {"members": members, "subclasses": subclasses}
            network = cls(arch, {}, labels, preparation, model, **facts)
        else:
            arch_options = card["recipe"].get("arch_options", {})
            network = cls.create(arch, subclasses or labels, preparation, "random", **arch_options)
            network.pretrained = True
        weights = load_file(snapshot) if snapshot else load_run_weights(run.weights_file)
        network.model.load_state_dict(weights)
        network.model.eval()
        return network

    @property
    def classes(self) -> list[str]:
        """Return the B classes in the order of the logits: the sub-classes, or else the labels."""
        return list(self.subclasses or self.labels)

    @property
    def label_index(self) -> np.ndarray | None:
        """Return the index of the label of each class, int [B]; None if classes are labels."""
        if not self.subclasses:
            return None
        return np.array([self.labels.index(label) for label in self.subclasses.values()])

    @property
    def backbone(self) -> Backbone:
        """Return the part that turns photos into feature maps."""
        return self.model[0]  # pyright: ignore[reportReturnType]

    @property
    def head(self) -> nn.Sequential:
        """Return the part that turns feature maps into logits."""
        return self.model[1]  # pyright: ignore[reportReturnType]

    @property
    def device(self) -> torch.device:
        """Return the device of the weights."""
        return next(self.model.parameters()).device

    @torch.no_grad()
    def forward_pixels(self, pixels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits [N, B] and embedding [N, D] of prepared photos, uint8 [N, S, S, 3].

        Computed in evaluation mode, returned as float32 on the CPU.
        """
        self.model.eval()
        features = self.backbone(self.preparation.normalize(pixels).to(self.device))
        return self.head(features).float().cpu(), features.mean((2, 3)).float().cpu()

    def round_to_half(self) -> None:
        """Round matrices to float16 in place; vectors (norms, biases) stay float32.

        Raises NetworkError if a weight is beyond the range of float16.
        """
        round_to_half(self.model)

    def stored_weights(self, weights_dtype: str = "fp16") -> dict[str, torch.Tensor]:
        """Return the state dict as a run stores it: matrices as float16, except for fp32."""
        return stored_weights(self.model, weights_dtype)

    def save(self, path: Path, card: dict, weights_dtype: str = "fp16") -> None:
        """Write weights and card as one safetensors file, from which `load` restores the network.

        Call `round_to_half` first, unless the dtype is fp32: what is stored is then exact.
        """
        write_bytes(path, save(self.stored_weights(weights_dtype), {"card": json.dumps(card)}))
