"""An image given by its Fourier spectrum and decorrelated colours, to be optimised by gradients."""

import numpy as np
import torch
from torch import nn

DECAY = 1.4  # of amplitude with frequency; photos have about 1, and more gives fewer fine grids
PERIOD = 16  # pixels of the wave that is scaled alike with every exponent
GAIN = 0.25  # keeps the colours of a new step away from black and white


def colour_basis(pixels: np.ndarray) -> torch.Tensor:
    """Return the matrix [3, 3] that gives uncorrelated values the colours of photos.

    `pixels` are photos, uint8 [N, S, S, 3]. The matrix is the symmetric square root of their
    covariance, divided by its largest column norm, so that no value is amplified.
    """
    colours = torch.from_numpy(pixels.reshape(-1, 3)).double() / 255
    values, vectors = torch.linalg.eigh(torch.cov(colours.T) + 1e-6 * torch.eye(3))
    root = vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T
    return (root / root.norm(dim=0).max()).float()


def frequencies(size: int) -> torch.Tensor:
    """Return the frequency of each entry of a real image's spectrum, [size, size // 2 + 1]."""
    return torch.hypot(torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)[None])


class FourierImage(nn.Module):
    """A batch of square images between 0 and 1, [N, 3, size, size], given by their spectra.

    High frequencies are scaled down as they are in photos, whose neighbouring pixels are alike:
    gradients then change an image at all scales, instead of adding noise to its pixels (Olah,
    Mordvintsev and Schubert 2017, Feature Visualization). `colours` [3, 3] is a `colour_basis`.
    """

    def __init__(self, count: int, size: int, colours: torch.Tensor, seed: int = 0):
        super().__init__()
        self.size = size
        random = torch.Generator().manual_seed(seed)
        shape = (count, 3, size, size // 2 + 1, 2)
        self.spectrum = nn.Parameter(0.01 * torch.randn(shape, generator=random))
        scale = PERIOD / (PERIOD * frequencies(size).clamp(min=1 / size)) ** DECAY
        self.register_buffer("scale", scale[..., None])
        self.register_buffer("colours", colours)

    def signal(self) -> torch.Tensor:
        """Return the inverse Fourier transform of the scaled spectra, [N, 3, size, size]."""
        spectrum = torch.view_as_complex(self.spectrum * self.scale)
        return torch.fft.irfft2(spectrum, s=(self.size, self.size), norm="ortho")

    def forward(self) -> torch.Tensor:
        """Return the images."""
        colours = torch.einsum("nchw,dc->ndhw", self.signal() * GAIN, self.colours)
        return torch.sigmoid(colours)
