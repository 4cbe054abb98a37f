"""How a photo becomes the input of a network: size, resampling filter and normalisation."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL
import timm
import torch

from birds import drawn, photo
from fieldmark.errors import RunError


@dataclass(frozen=True)
class Preparation:
    """The preparation that a network was trained with.

    `size` is the side of the square input in pixels, `filter` the name of a resampling filter of
    Pillow's. `mean` and `std` are by channel, of pixels between 0 and 1.
    """

    size: int
    filter: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def for_arch(
        cls,
        arch: str,
        size: int = 0,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        **_: Any,
    ) -> "Preparation":
        """Take timm's data configuration of an architecture; arguments that are given go first.

        Other `arch_options` of a recipe are ignored.
        """
        config = timm.get_pretrained_cfg(arch)
        return cls(
            size or (config.test_input_size or config.input_size)[-1],
            config.interpolation,
            tuple(mean or config.mean),
            tuple(std or config.std),
        )

    @classmethod
    def from_card(cls, card: dict) -> "Preparation":
        """Return the preparation that a model card records."""
        recorded = card["preparation"]
        mean, std = (tuple(recorded[key]) for key in ("mean", "std"))
        return cls(recorded["size"], recorded["filter"], mean, std)

    def to_card(self) -> dict:
        """Return the entry `preparation` of a model card, with fingerprints to compare later."""
        return {
            "size": self.size,
            "filter": self.filter,
            "mean": list(self.mean),
            "std": list(self.std),
            "sha256": self.fingerprints(),
            "pillow": PIL.__version__,
        }

    def prepare(self, data: bytes) -> np.ndarray:
        """Return the pixels of a photo's bytes, uint8 [S, S, 3], as the function prepares them."""
        return photo.prepare(data, self.size, self.filter)

    def normalize(self, pixels: np.ndarray | torch.Tensor) -> torch.Tensor:
        """Return pixels, uint8 [N, S, S, 3], as the input of the network, float32 [N, 3, S, S]."""
        mean, std = self.statistics(device=getattr(pixels, "device", "cpu"))
        scaled = torch.as_tensor(pixels).permute(0, 3, 1, 2).float() / 255
        return (scaled - mean) / std

    def statistics(self, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and standard deviation as tensors [3, 1, 1]; `options` go to torch."""
        mean, std = (torch.tensor(values, **options) for values in (self.mean, self.std))
        return mean[:, None, None], std[:, None, None]

    def fingerprints(self) -> dict[str, str]:
        """Return the SHA-256 of the prepared pixels of each of the eight awkward drawn photos."""
        return {
            name: hashlib.sha256(self.prepare(data).tobytes()).hexdigest()
            for name, data in drawn.awkward_photos().items()
        }

    def check_fingerprints(self, recorded: dict) -> None:
        """Raise RunError unless the drawn photos are prepared as the card entry `recorded` says."""
        expected = recorded.get("sha256") or {}
        changed = [k for k, digest in self.fingerprints().items() if digest != expected.get(k)]
        if changed:
            raise RunError(
                f"Photo preparation has changed since this network was trained: the drawn photos "
                f"{', '.join(changed)} differ (Pillow {PIL.__version__}; then "
                f"{recorded.get('pillow')}). Undo the change, or train again, or rebuild the model "
                "file with --new-preparation to record it."
            )


def renormalization(
    mean: torch.Tensor, std: torch.Tensor, new_mean: torch.Tensor, new_std: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scale and shift that turn a normalisation by mean and std into one by others."""
    return std / new_std, (mean - new_mean) / new_std
