"""Batches out of a cache: photos and labels belong together, crops are where they should be."""

import numpy as np
import pytest
import torch
from fastai.vision.all import IntToFloatTensor, Normalize, Pipeline

from birds import photo
from fieldmark.data import loaders as data
from fieldmark.data.cache import cached
from fieldmark.data.cached_loader import CachedDL, Crop
from fieldmark.data.survey import survey
from tests.conftest import ARCH, SIZE


@pytest.fixture
def made(table, folder, tmp_path):
    """Make DataLoaders from a cache."""
    settings = data.settings(ARCH, SIZE)
    cache = cached(table, survey(table, folder), folder, SIZE, home=tmp_path)

    def dataloaders(**options):
        return data.dataloaders(table, folder, **settings, batch_size=8, cache=cache, **options)

    return dataloaders


STILL = {"closest": 1, "farthest": 1, "flip": False, "rotate": 0, "warp": 0, "light": 0}


def test_training_photos_come_out_of_the_cache_and_validation_photos_as_they_are_served(
    made, table, folder
):
    dls = made()
    assert isinstance(dls.train, CachedDL)
    photos, _ = dls.train.one_batch()
    assert photos.shape == (8, 3, SIZE, SIZE)
    assert photos.dtype == torch.float32
    assert len(dls.train) == (table["split"] == "train").sum() // 8
    path = table["path"][table["split"] == "valid"].iloc[0]
    (seen,) = dls.test_dl([folder / path], rm_type_tfms=1, num_workers=0).one_batch()
    decoded = dls.valid.after_batch.decode((seen,))[0][0]
    expected = photo.prepare((folder / path).read_bytes(), SIZE)
    assert np.abs(decoded.permute(1, 2, 0).numpy() - expected.astype(int)).max() <= 1


def test_without_chance_a_cached_photo_is_its_middle_square_with_its_own_label(made, table, folder):
    dls = made(**STILL)
    taught = table[table["split"] == "train"].reset_index(drop=True)
    photos, labels = dls.train.do_batch([3, 40, 17])
    pixels = dls.train.after_batch((photos, labels))[0]
    mean, std = (
        torch.tensor(data.settings(ARCH, SIZE)[key]).view(3, 1, 1) for key in ("mean", "std")
    )
    for row, seen, label in zip([3, 40, 17], pixels, labels, strict=True):
        assert dls.vocab[label] == taught["label"][row]
        expected = photo.prepare((folder / taught["path"][row]).read_bytes(), SIZE)
        found = 255 * (seen * std + mean).permute(1, 2, 0).numpy()
        assert np.abs(found - expected).mean() < 4  # they were resampled twice


def test_an_epoch_shows_each_photo_at_most_once_in_another_order_each_time(made):
    dls = made(**STILL)
    rows, take = [], dls.train.cache.take
    dls.train.cache.take = lambda chosen: rows.append(chosen) or take(chosen)
    first, second = ([row for batch in dls.train for row in rows.pop()] for _ in range(2))
    for epoch in (first, second):
        assert len(epoch) == len(set(epoch)) == 8 * len(dls.train)
    assert first != second


@pytest.mark.parametrize("aspect", [0.5, 1.0, 1.7])
def test_a_crop_lies_in_its_photo_and_is_not_squeezed_more_than_it_may(aspect):
    crop = Crop(SIZE, closest=0.5)
    crop.aspects = torch.full((500,), aspect)
    matrix = crop.matrix(torch.empty(500, 3, 8, 8))
    x, y, left, top = matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 0, 2], matrix[:, 1, 2]
    assert (left.abs() + x <= 1 + 1e-6).all()
    assert (top.abs() + y <= 1 + 1e-6).all()
    ratio = x * aspect / y
    assert ratio.min() >= 3 / 4 - 1e-6
    assert ratio.max() <= 4 / 3 + 1e-6
    area = x * aspect * y / min(aspect, 1) ** 2
    assert 0.4 < area.min() < 0.6
    assert area.max() <= 4 / 3 + 1e-6


def test_a_crop_takes_no_part_where_photos_were_cut_when_they_were_read(made, folder, table):
    dls = made(**STILL)
    dls.train.one_batch()
    items = dls.train.items.head(4)
    loader = dls.test_dl(items, with_labels=True, num_workers=0)
    with data.as_in_training(dls, loader) as shown:
        photos, _ = shown.one_batch()
    exact, _ = loader.one_batch()
    assert torch.allclose(photos, exact, atol=1e-3)


def test_all_that_happens_by_coordinates_is_one_resampling(made):
    names = [type(step).__name__ for step in made().train.after_batch.fs]
    assert names == ["IntToFloatTensor", "Crop", "Brightness", "Normalize"]


def test_a_loader_like_it_has_the_same_photos(made):
    dls = made(**STILL)
    kept = [t for t in dls.train.after_batch.fs if isinstance(t, IntToFloatTensor | Normalize)]
    other = dls.train.new(shuffle=False, after_batch=Pipeline([*kept, Crop(SIZE, 1)]))
    assert other.cache is dls.train.cache
    assert len(other.one_batch()[0]) == 8
