"""A run that will not fit on the disk is refused before it begins."""

import shutil

import pytest

from fieldmark.checkpoints import tensor_bytes
from fieldmark.disk import folder_size
from fieldmark.errors import DiskError
from fieldmark.recipe import Recipe
from fieldmark.run import Run
from fieldmark.training.disk_space import check_disk_space, estimate_disk_space
from tests.conftest import ARCH, SIZE
from tests.training.conftest import load_checkpoint


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_the_estimate_is_that_of_the_checkpoints(new_learner, quiet_fit, tmp_path, optimizer):
    learn = new_learner(optimizer=optimizer)
    learn.unfreeze()
    quiet_fit(learn, 1, ema_decay=0.9)
    recipe = Recipe(arch=ARCH, size=SIZE, optimizer=optimizer, ema_decay=0.9)
    expected = 2 * tensor_bytes(load_checkpoint(tmp_path / "run"))
    assert estimate_disk_space(recipe, 72)["checkpoints"] == pytest.approx(expected, rel=0.1)


def test_a_run_that_does_not_fit_is_refused_with_what_it_needs(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    run, caches = Run(tmp_path / "run"), tmp_path / "cache"
    recipe = Recipe(arch="resnet18", size=224)
    check_disk_space(run, recipe, 2000, caches)
    expected = (
        r"run has 1\.0 GB free.*about 1\.9 GB \(checkpoints 358 MB, model files 89 MB, decoded"
    )
    with pytest.raises(
        DiskError, match=expected + r" photos 1\.5 GB, notebook and figures 20 MB\).*`cache: false`"
    ):
        check_disk_space(run, recipe, 10_000, caches)
    check_disk_space(run, recipe.model_copy(update={"cache": False}), 10_000, caches)
    caches.mkdir()
    (caches / "pixels.npy").write_bytes(bytes(2 * 10**7))
    usage = usage._replace(free=1_930_000_000)
    check_disk_space(run, recipe, 10_000, caches)


def test_a_file_that_another_process_renames_has_no_size(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"?" * 4096)
    size = folder_size(tmp_path)
    (tmp_path / "b.partial").symlink_to(tmp_path / "gone")
    monkeypatch.setattr(type(tmp_path), "is_file", lambda _: True)  # just before it was renamed
    assert folder_size(tmp_path) == size > 0
