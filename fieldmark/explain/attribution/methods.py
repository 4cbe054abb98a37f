"""Attribution methods: how much each pixel of a photo speaks for a label, or against it.

The baseline of all methods that need one is the mean grey of the preparation: zeros, once photos
are normalised.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from captum.attr import (
    GradientShap,
    IntegratedGradients,
    NoiseTunnel,
    Occlusion,
    Saliency,
    ShapleyValueSampling,
)
from torch.nn import functional

from fieldmark.errors import NetworkError
from fieldmark.explain.attribution.deep_lift import RescaledDeepLift
from fieldmark.explain.attribution.guided import GuidedActivationsCam
from fieldmark.explain.class_maps import map_features
from fieldmark.explain.explained_run import ExplainedRun
from fieldmark.explain.label_logits import LabelLogits

CLASS_MAP, RANDOM = "class map", "random"
PATCHES = 7  # a side, of occlusion and of Shapley values
RANDOM_PATCHES = 14  # a side
STEPS, BATCH = 50, 16
NOISY, NOISY_STEPS, NOISE = 4, 12, 0.3  # in standard deviations of the normalised photos
SHAP_SAMPLES, ORDERS = 16, 3
Compute = Callable[[LabelLogits, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Method:
    """A method: `compute` returns [N, H, W] or, by channel, [N, 3, H, W].

    The attributions of a `complete` method add up to the logit minus that of the baseline; those
    of an `exact` one without an error of steps, so that a rest shows rules that do not fit.
    """

    compute: Compute
    summary: str
    complete: bool = False
    exact: bool = False


def create_logits(explained: ExplainedRun, temperature: float = 1.0) -> LabelLogits:
    """Return the differentiable network, in the memory layout in which CPUs compute it fastest."""
    logits = LabelLogits(explained.network, temperature)
    return logits.to(memory_format=torch.channels_last)


def attribute(
    name: str, logits: LabelLogits, photos: torch.Tensor, targets: torch.Tensor, seed: int = 0
) -> np.ndarray:
    """Return the signed attribution of each pixel by a method of METHODS, float32 [N, H, W].

    `photos` [N, 3, H, W] are normalised, `targets` [N] are indices of labels. Channels are summed.
    Raises NetworkError, or an error of Captum's, if the method does not support the network.
    """
    with seeded(seed), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Captum announces its hooks as warnings
        inputs = photos.detach().clone(memory_format=torch.channels_last)
        values = METHODS[name].compute(logits, inputs, targets).detach()
    return (values.sum(1) if values.ndim == 4 else values).float().numpy()


def compute_residual(
    values: np.ndarray, logits: LabelLogits, photos: torch.Tensor, targets: torch.Tensor
) -> np.ndarray:
    """Return the share of the logit's change that attributions [N, H, W] miss, [N].

    The change is the logit of a photo minus that of the baseline. 0 is a complete attribution.
    """
    with torch.no_grad():
        change = logits(photos) - logits(torch.zeros_like(photos[:1]))
    change = change[torch.arange(len(photos)), targets].numpy()
    missed = np.abs(values.sum((1, 2), dtype=np.float64) - change)
    return missed / np.maximum(np.abs(change), np.finfo(np.float32).tiny)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of torch and NumPy, which Captum draws from, and restore them."""
    state = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(state)


def upsample(maps: torch.Tensor, size: int) -> torch.Tensor:
    """Return maps [N, h, w] at the size of the photos, [N, size, size], by bilinear resampling."""
    return functional.interpolate(maps[:, None], (size, size), mode="bilinear")[:, 0]


def compute_features(logits: LabelLogits, photos: torch.Tensor) -> torch.Tensor:
    """Return the feature maps of photos; raises NetworkError for a network without positions."""
    with torch.no_grad():
        features = logits.backbone(photos)
    if features.shape[2:].numel() == 1:
        raise NetworkError("This network has no feature map, only one vector for a photo.")
    return features


def map_classes(logits, photos, targets):
    """Class activation map (Zhou et al. 2016), exact for these networks; the served heat map."""
    features = compute_features(logits, photos)
    maps = map_features(features, logits.model[1], logits.label_index, targets)
    return upsample(maps, photos.shape[-1]) / photos[0, 0].numel()


def compute_saliency(logits, photos, targets):
    """Absolute gradient (Simonyan et al. 2014): how sensitive, not in which direction."""
    return Saliency(logits).attribute(photos, targets, abs=True)


def integrate_gradients(logits, photos, targets):
    """Integrated gradients (Sundararajan et al. 2017)."""
    options = {"n_steps": STEPS, "internal_batch_size": max(BATCH, len(photos))}
    return IntegratedGradients(logits).attribute(photos, target=targets, **options)


def integrate_noisy_gradients(logits, photos, targets):
    """Integrated gradients, averaged over noisy copies (SmoothGrad, Smilkov et al. 2017)."""
    return NoiseTunnel(IntegratedGradients(logits)).attribute(
        photos,
        nt_samples=NOISY,
        nt_samples_batch_size=1,
        stdevs=NOISE,
        target=targets,
        n_steps=NOISY_STEPS,
        internal_batch_size=max(BATCH, len(photos)),
    )


def lift(logits, photos, targets):
    """DeepLIFT (Shrikumar et al. 2017) with rules for smooth activations and gates."""
    return RescaledDeepLift(logits).attribute(photos, target=targets)


def compute_gradient_shap(logits, photos, targets):
    """GradientShap (Lundberg and Lee 2017): random points between noisy photo and baseline."""
    return GradientShap(logits).attribute(
        photos,
        baselines=torch.zeros_like(photos[:1]),
        target=targets,
        n_samples=SHAP_SAMPLES,
        stdevs=NOISE / 3,
    )


def compute_guided_cam(logits, photos, targets):
    """Guided backpropagation times the positive class map (Selvaraju et al. 2017).

    Absolute, as saliency is: the sign of a gradient says brighter or darker, not for or against.
    """
    compute_features(logits, photos[:1])
    method = GuidedActivationsCam(logits, logits.backbone)
    return method.attribute(photos, targets, interpolate_mode="bilinear").abs()


def occlude(logits, photos, targets):
    """Occlusion (Zeiler and Fergus 2014): what a sliding grey patch takes from the logit."""
    side = max(photos.shape[-1] // PATCHES, 2)
    shape, stride = (photos.shape[1], side, side), (photos.shape[1], side // 2, side // 2)
    options = {"strides": stride, "perturbations_per_eval": BATCH}
    with torch.no_grad():
        return Occlusion(logits).attribute(photos, shape, target=targets, **options)[:, 0]


def sample_shapley_values(logits, photos, targets):
    """Shapley values of patches, by random orders (Castro et al. 2009), spread over pixels."""
    size = photos.shape[-1]
    rows = PATCHES * torch.arange(size) // size
    patch = rows[:, None] * PATCHES + rows
    values = ShapleyValueSampling(logits).attribute(
        photos,
        target=targets,
        feature_mask=patch[None, None],
        n_samples=ORDERS,
        perturbations_per_eval=BATCH,
    )
    return values[:, 0] / patch.flatten().bincount()[patch]


def draw_random(logits, photos, targets):
    """Random patches: what a method must exceed."""
    noise = torch.randn(len(photos), RANDOM_PATCHES, RANDOM_PATCHES)
    return upsample(noise, photos.shape[-1])


METHODS: dict[str, Method] = {
    CLASS_MAP: Method(map_classes, "class activation map: the served heat map, with its sign"),
    "saliency": Method(compute_saliency, "absolute gradient; has no sign"),
    "integrated gradients": Method(
        integrate_gradients, "gradients along the way from grey to the photo", True
    ),
    "smooth gradients": Method(
        integrate_noisy_gradients, "integrated gradients through a noise tunnel"
    ),
    "DeepLift": Method(lift, "changes against grey, passed back layer by layer", True, True),
    "GradientShap": Method(compute_gradient_shap, "gradients at random points from grey to photo"),
    "guided Grad-CAM": Method(
        compute_guided_cam, "positive gradients only, times the positive class map; has no sign"
    ),
    "occlusion": Method(occlude, "what a sliding grey patch takes away"),
    "Shapley values": Method(
        sample_shapley_values, "what a patch adds, in random orders", True, True
    ),
    RANDOM: Method(draw_random, "noise, for comparison"),
}
