"""Batches from a cache: photos keep their labels, and crops lie where they should."""

import numpy as np
import pytest
import torch
from fastai.vision.all import IntToFloatTensor, Normalize, Pipeline

from birds import photo
from fieldmark.data.cache import build_cache
from fieldmark.data.cached_loader import CachedCrop, CachedLoader
from fieldmark.data.loaders import augmented_loader, make_dataloaders
from fieldmark.data.survey import survey_photos
from tests.conftest import SIZE

NO_CHANGE = {"min_crop_area": 1, "shrink_share": 0, "min_resolution": 1, "flip": False}
NO_CHANGE |= {"max_rotate": 0, "max_warp": 0, "max_lighting": 0}


@pytest.fixture(scope="module")
def make_cached(table, folder, settings, tmp_path_factory):
    """Return a function that makes DataLoaders from a cache."""
    survey, caches = survey_photos(table, folder), tmp_path_factory.mktemp("caches")
    cache = build_cache(table, survey, folder, SIZE, caches=caches)

    def make(**options):
        return make_dataloaders(table, folder, **settings, batch_size=8, cache=cache, **options)

    return make


def test_training_photos_come_from_the_cache_and_validation_photos_as_served(
    make_cached, table, folder
):
    dls = make_cached()
    assert isinstance(dls.train, CachedLoader)
    photos, _ = dls.train.one_batch()
    assert photos.shape == (8, 3, SIZE, SIZE)
    assert photos.dtype == torch.float32
    assert len(dls.train) == (table["split"] == "train").sum() // 8
    path = table["path"][table["split"] == "valid"].iloc[0]
    (pixels,) = dls.test_dl([folder / path], rm_type_tfms=1, num_workers=0).one_batch()
    decoded = dls.valid.after_batch.decode((pixels,))[0][0]
    expected = photo.prepare((folder / path).read_bytes(), SIZE)
    assert np.abs(decoded.permute(1, 2, 0).numpy() - expected.astype(int)).max() <= 1


def test_without_augmentation_a_cached_photo_is_its_centre_square_with_its_label(
    make_cached, table, folder, settings
):
    dls = make_cached(**NO_CHANGE)
    train = table[table["split"] == "train"].reset_index(drop=True)
    photos, labels = dls.train.do_batch([3, 40, 17])
    batch = dls.train.after_batch((photos, labels))[0]
    mean, std = (torch.tensor(settings[key]).view(3, 1, 1) for key in ("mean", "std"))
    for row, pixels, label in zip([3, 40, 17], batch, labels, strict=True):
        assert dls.vocab[label] == train["label"][row]
        expected = photo.prepare((folder / train["path"][row]).read_bytes(), SIZE)
        restored = 255 * (pixels * std + mean).permute(1, 2, 0).numpy()
        assert np.abs(restored - expected).mean() < 4  # the cached photo was resampled twice


def test_an_epoch_shuffles_and_repeats_no_photo(make_cached, monkeypatch):
    dls = make_cached(**NO_CHANGE)
    rows, read_rows = [], dls.train.cache.read_rows
    monkeypatch.setattr(
        dls.train.cache, "read_rows", lambda chosen: rows.append(chosen) or read_rows(chosen)
    )
    first, second = ([row for batch in dls.train for row in rows.pop()] for _ in range(2))
    for epoch in (first, second):
        assert len(epoch) == len(set(epoch)) == 8 * len(dls.train)
    assert first != second


@pytest.mark.parametrize("aspect", [0.5, 1.0, 1.7])
def test_a_crop_lies_in_its_photo_and_keeps_area_and_ratio_within_limits(aspect):
    crop = CachedCrop(SIZE, min_area=0.5)
    crop.aspects = torch.full((500,), aspect)
    matrix = crop.crop_matrices(torch.empty(500, 3, 8, 8))
    x, y, left, top = matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 0, 2], matrix[:, 1, 2]
    assert (left.abs() + x <= 1 + 1e-6).all()
    assert (top.abs() + y <= 1 + 1e-6).all()
    ratio = x * aspect / y
    assert ratio.min() >= 3 / 4 - 1e-6
    assert ratio.max() <= 4 / 3 + 1e-6
    area = x * aspect * y / min(aspect, 1) ** 2
    assert 0.4 < area.min() < 0.6
    assert area.max() <= 4 / 3 + 1e-6


def test_the_crop_does_nothing_for_other_loaders(make_cached):
    dls = make_cached(**NO_CHANGE)
    dls.train.one_batch()
    loader = dls.test_dl(dls.train.items.head(4), with_labels=True, num_workers=0)
    with augmented_loader(dls, loader) as augmented:
        photos, _ = augmented.one_batch()
    expected, _ = loader.one_batch()
    assert torch.allclose(photos, expected, atol=1e-3)


def test_all_coordinate_transforms_are_one_resampling(make_cached):
    names = [type(transform).__name__ for transform in make_cached().train.after_batch.fs]
    expected = ["IntToFloatTensor", "CachedCrop", "Shrink", "Brightness", "LoseDetail", "Normalize"]
    assert names == expected


def test_a_new_loader_has_the_same_photos(make_cached):
    dls = make_cached(**NO_CHANGE)
    kept = [t for t in dls.train.after_batch.fs if isinstance(t, IntToFloatTensor | Normalize)]
    loader = dls.train.new(shuffle=False, after_batch=Pipeline([*kept, CachedCrop(SIZE, 1)]))
    assert loader.cache is dls.train.cache
    assert len(loader.one_batch()[0]) == 8
