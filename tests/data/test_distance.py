"""Training photos are shrunk onto grounds, shifted and made coarser, as a finder's crops are."""

import numpy as np
import pytest
import torch
from fastai.vision.all import TensorImage

from fieldmark.data.distance import LoseDetail, Shrink

SIZE, COUNT = 48, 300
WHITE = TensorImage(torch.ones(COUNT, 3, SIZE, SIZE))
BLACK = torch.zeros(2, 3, 30, 30, dtype=torch.uint8)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def shrink(photos=WHITE, share=1.0, **options) -> np.ndarray:
    """Return the first channel of shrunk photos, [n, S, S]."""
    return np.asarray(Shrink(share, **options)(photos, split_idx=0)[:, 0])


def hard_edged(photos: np.ndarray) -> np.ndarray:
    """Return the opacity of photos with hard edges, bool [n, S, S]."""
    return photos[((photos > 0.01) == (photos > 0.99)).all((1, 2))] > 0.5


def test_shrunk_photos_have_all_scales_and_aspects_and_lie_anywhere_on_their_ground():
    hard = hard_edged(shrink(min_scale=0.5, min_aspect=0.6, grounds=BLACK))
    assert COUNT / 5 < len(hard) < COUNT / 2
    sides = np.array([(photo.any(0).sum(), photo.any(1).sum()) for photo in hard]) / SIZE
    assert 0.45 < sides.max(1).min() < 0.6
    assert sides.max(1).max() > 0.95
    assert 0.55 < (sides.min(1) / sides.max(1)).min() < 0.7
    lefts = [photo.any(0).argmax() for photo in hard]
    assert min(lefts) == 0
    assert max(lefts) > 0.3 * SIZE


def test_edges_are_hard_feathered_or_an_ellipse():
    photos = shrink(min_scale=1.0, grounds=BLACK)  # as large as the square
    corners, middles = photos[:, 1, 1], photos[:, SIZE // 2, 1]
    is_hard, is_ellipse = photos.mean((1, 2)) == 1, (corners == 0) & (photos.mean((1, 2)) < 0.75)
    assert 0.2 < is_hard.mean() < 0.45
    assert 0.2 < is_ellipse.mean() < 0.45
    feathered = ~is_hard & ~is_ellipse
    assert (middles[feathered] <= 1).all()
    assert (photos[:, SIZE // 2, SIZE // 2] > 0.99).all()


def test_a_shifted_photo_is_cut_off_by_at_most_the_shift():
    photos = shrink(min_scale=1.0, max_shift=0.2, grounds=BLACK)
    kept = hard_edged(photos).mean((1, 2))
    assert kept.min() >= 0.8**2 - 0.05
    assert kept.min() < 0.75


def test_without_grounds_the_photo_is_mirrored_at_its_edges():
    ramp = torch.linspace(0, 1, SIZE).expand(COUNT, 3, SIZE, SIZE).clone()
    photos = shrink(TensorImage(ramp), min_scale=0.5)
    rows = photos[:, SIZE // 2]
    assert rows.min() < 0.05
    assert np.abs(np.diff(rows)).max() < 0.06  # no edge, and no row of one value
    assert (np.abs(np.diff(rows)) > 1e-4).mean() > 0.9


def test_only_a_share_of_the_photos_is_shrunk():
    changed = (shrink(share=0.3, min_scale=0.5, grounds=BLACK) < 1).any((1, 2))
    assert 0.2 < changed.mean() < 0.4
    assert not (shrink(share=0.0, min_scale=0.5, grounds=BLACK) < 1).any()


def test_photos_lose_fine_detail_and_keep_their_colours():
    stripes = torch.zeros(COUNT, 3, SIZE, SIZE)
    stripes[..., ::2] = 1
    photos = np.asarray(LoseDetail(0.25)(TensorImage(stripes), split_idx=0)[:, 0])
    contrast = photos.std((1, 2))
    assert 0.4 < (contrast < 0.45).mean() < 0.6
    assert contrast.min() < 0.05
    assert photos.mean((1, 2)) == pytest.approx(np.full(COUNT, 0.5), abs=0.02)
