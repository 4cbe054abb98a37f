"""Training photos are augmented; validation photos are what the function would prepare."""

import warnings

import numpy as np
import pytest
import torch
from fastai.vision.all import Pipeline, TensorImage

from birds import drawn, photo
from fieldmark.data.augmentation import make_augmentations
from fieldmark.data.loaders import DecodePhoto, PhotoFile, make_dataloaders
from fieldmark.errors import DatasetError
from tests.conftest import SIZE


def test_a_validation_photo_is_what_the_function_prepares(table, folder, settings):
    dls = make_dataloaders(table, folder, **settings)
    photos = list(drawn.awkward_photos().values())
    loader = dls.test_dl(photos, rm_type_tfms=1, num_workers=0)
    batch = torch.cat([batch[0] for batch in loader])
    mean, std = (torch.tensor(settings[key]).view(3, 1, 1) for key in ("mean", "std"))
    for pixels, data in zip(batch, photos, strict=True):
        prepared = torch.from_numpy(photo.prepare(data, SIZE)).permute(2, 0, 1)
        assert abs(pixels - (prepared / 255 - mean) / std).max() < 1e-6


def test_a_training_photo_is_cropped_differently_each_time(folder):
    file = PhotoFile.read(next(folder.glob("*/*.jpg")))
    decode = DecodePhoto(SIZE, min_area=0.3)
    first, second = (np.asarray(decode(file, split_idx=0)) for _ in range(2))
    assert first.shape == second.shape == (SIZE, SIZE, 3)
    assert not np.array_equal(first, second)
    assert np.array_equal(*(np.asarray(decode(file, split_idx=1)) for _ in range(2)))


@pytest.mark.parametrize("split_idx", [0, 1])
def test_a_photo_that_cannot_be_decoded_is_named(tmp_path, split_idx):
    (tmp_path / "bad.jpg").write_bytes(drawn.encode_photo(drawn.draw_bird("Night_Inkling"))[:800])
    file = PhotoFile.read(tmp_path / "bad.jpg")
    with pytest.raises(DatasetError, match=r"bad\.jpg"):
        DecodePhoto(SIZE, min_area=0.3)(file, split_idx=split_idx)


NO_CHANGE = {"flip": False, "max_rotate": 0.0, "max_lighting": 0.0, "shrink_share": 0.0}
NO_CHANGE |= {"max_warp": 0.0, "min_resolution": 1.0}


def measure_changes(**options) -> torch.Tensor:
    """Return the largest change of each of 32 equal photos by an augmentation."""
    bird = torch.from_numpy(drawn.draw_bird("Green_Inkling", 3, SIZE, SIZE)).permute(2, 0, 1) / 255
    batch = TensorImage(bird[None].repeat(32, 1, 1, 1))
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit, which fastai's colour transforms use
        augmentations = Pipeline(make_augmentations(**NO_CHANGE | options), split_idx=0)
        augmented = augmentations(batch.clone())
    return abs(augmented - batch).as_subclass(torch.Tensor).amax((1, 2, 3))


@pytest.mark.parametrize(
    "options",
    [
        {"flip": True},
        {"max_rotate": 30.0},
        {"shrink_share": 0.5},
        {"shrink_share": 0.5, "min_scale": 1.0, "min_aspect": 1.0},
        {"min_resolution": 0.3},
        {"max_warp": 0.3},
        {"max_lighting": 0.4},
        {"colour_jitter": 0.3},
        {"random_erasing": 0.5},
    ],
    ids=str,
)
def test_each_augmentation_changes_some_photos_and_only_on_request(options):
    changed = measure_changes(**options) > 0.05
    assert 4 < changed.sum() < 32
    assert measure_changes().max() < 1e-3
