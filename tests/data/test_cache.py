"""Photos are decoded once, and an interruption does not damage the cache."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import psutil
import pytest
from numpy.lib.format import open_memmap
from PIL import Image

from birds import drawn, photo
from fieldmark.data import cache as cache_module
from fieldmark.data.cache import PixelCache, build_cache
from fieldmark.data.survey import survey_photos
from fieldmark.errors import DatasetError, DiskError, LockedError
from fieldmark.locking import lock_folder
from tests.conftest import ROOT, SIZE


@pytest.fixture(scope="module")
def survey(table, folder):
    return survey_photos(table, folder)


@pytest.fixture
def cache(table, survey, folder, tmp_path):
    return build_cache(table, survey, folder, SIZE, caches=tmp_path)


def test_a_cache_holds_each_training_photo_squeezed_to_a_square(table, folder, cache):
    train = table[table["split"] == "train"]
    assert len(cache) == len(train)
    for row in (0, 17, len(cache) - 1):
        image = Image.open(folder / train["path"].iloc[row])
        expected = image.resize((cache.side,) * 2, Image.Resampling.BICUBIC)
        assert np.array_equal(cache.pixels[row], np.asarray(expected))
        assert cache.aspects[row] == pytest.approx(image.width / image.height)


def test_a_rotated_phone_photo_is_cached_upright(tmp_path):
    file = tmp_path / "rotated.jpg"
    file.write_bytes(drawn.encode_rotated(6, drawn.draw_bird("Green_Inkling", 0, 90, 60)))
    cache = PixelCache(tmp_path, 1, 64)
    cache.fill([file])
    upright, _ = photo.decode_photo(file.read_bytes(), 64)
    assert cache.aspects[0] == pytest.approx(upright.width / upright.height)
    assert np.array_equal(cache.pixels[0], np.asarray(upright.resize((64, 64))))


def test_later_runs_reuse_the_cache(table, survey, folder, cache, monkeypatch):
    monkeypatch.setattr(PixelCache, "decode_row", None)  # calling it would fail
    again = build_cache(table, survey, folder, SIZE, caches=cache.folder.parent)
    assert again.folder == cache.folder
    assert np.array_equal(again.pixels, cache.pixels)


def test_another_size_filter_or_photo_has_another_cache(table, survey, folder, cache):
    caches, folders = cache.folder.parent, {cache.folder}
    changed = survey.assign(sha256=survey["sha256"].where(survey.index > 0, "another"))
    folders.add(build_cache(table, survey, folder, SIZE + 32, caches=caches).folder)
    folders.add(build_cache(table, survey, folder, SIZE, "bilinear", caches).folder)
    folders.add(build_cache(table, changed, folder, SIZE, caches=caches).folder)
    assert len(folders) == 4


def interrupt(cache):
    """Leave the cache as a process that is killed while it writes a photo."""
    open_memmap(cache.file("pixels"))[5:] = 77
    open_memmap(cache.file("checksums"))[5:] = 0


def truncate(cache):
    with cache.file("pixels").open("r+b") as file:
        file.truncate(1000)
    cache.file("checksums").unlink()


def lose_pixels(cache):
    cache.file("pixels").unlink()


def flip(cache, name, start=128, end=None):
    """Change bytes of a file; its first 128 are a header with the array's shape."""
    content = bytearray(cache.file(name).read_bytes())
    for position in random.Random(0).sample(range(start, end or len(content)), 20):
        content[position] ^= 0x55
    cache.file(name).write_bytes(content)


DAMAGES = {
    "interrupted": interrupt,
    "truncated": truncate,
    "without pixels": lose_pixels,
    "flipped pixels": partial(flip, name="pixels"),
    "flipped aspects": partial(flip, name="aspects"),
    "flipped checksums": partial(flip, name="checksums"),
    "flipped header": partial(flip, name="pixels", start=0, end=128),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_photos_of_a_damaged_cache_are_decoded_again(table, survey, folder, cache, damage, capsys):
    pixels, aspects = cache.pixels.copy(), cache.aspects.copy()
    DAMAGES[damage](cache)
    again = build_cache(table, survey, folder, SIZE, caches=cache.folder.parent)
    assert np.array_equal(again.pixels, pixels)
    assert np.array_equal(again.aspects, aspects)
    assert not again.find_wrong_rows().size
    reported = "are damaged and are decoded again" in capsys.readouterr().out
    assert reported == (damage in ("flipped pixels", "flipped aspects", "flipped checksums"))


def test_a_disk_that_is_too_small_is_reported_before_anything_is_written(
    table, survey, folder, tmp_path, monkeypatch
):
    usage = shutil.disk_usage(tmp_path)._replace(free=2 * 10**5)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    expected = r"has 200 kB free.*needs about 7.. kB.*`cache: false`"
    with pytest.raises(DiskError, match=expected):
        build_cache(table, survey, folder, SIZE, caches=tmp_path)
    assert not list(tmp_path.rglob("*.npy"))


def test_a_disk_that_becomes_full_while_photos_are_decoded_is_reported(tmp_path):
    file = tmp_path / "bird.jpg"
    file.write_bytes(drawn.encode_photo(drawn.draw_bird("Green_Inkling", 0, 90, 60)))
    cache = PixelCache(tmp_path, 3, 64)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then writing raises an error
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
    try:
        with pytest.raises(
            DiskError, match=r"pixels\.npy cannot be written.*37 kB.*start the same"
        ):
            cache.fill([file] * 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_second_run_waits_while_another_fills_the_cache(
    table, survey, folder, cache, capsys, monkeypatch
):
    calls = []

    def lock_second(*arguments, **options):
        calls.append(options)
        if len(calls) == 1:
            raise LockedError
        return lock_folder(*arguments, **options)

    monkeypatch.setattr(cache_module, "lock_folder", lock_second)
    build_cache(table, survey, folder, SIZE, caches=cache.folder.parent)
    assert calls == [{}, {"timeout": cache_module.FOREVER}]
    assert f"Waiting for process {os.getpid()}" in capsys.readouterr().out


def test_a_photo_that_cannot_be_decoded_is_named(tmp_path):
    (tmp_path / "letter.jpg").write_text("Dear bird,")
    with pytest.raises(DatasetError, match=r"letter\.jpg"):
        PixelCache(tmp_path, 1, 64).fill([tmp_path / "letter.jpg"])


@pytest.mark.soak
def test_ten_thousand_photos_interrupted_at_random_are_completed(tmp_path, share, figures):
    """Kill the process at random moments; then compare every pixel."""
    count, max_kills = int(10_000 * share), max(2, int(20 * share))
    rng, kills = random.Random(0), 0
    files = [tmp_path / f"{name}.jpg" for name in drawn.SPECIES]
    for file in files:
        file.write_bytes(drawn.encode_photo(drawn.draw_bird(file.stem, 0, 1000, 750)))
    script = (
        "from pathlib import Path; from fieldmark.data.cache import PixelCache\n"
        f"files = [Path(file) for file in {[str(file) for file in files]!r}]\n"
        f"files = [files[row % {len(files)}] for row in range({count})]\n"
        f"cache = PixelCache(Path({str(tmp_path)!r}), {count}, 64)\n"
        "print('started', flush=True)\n"
        "cache.fill(files)\n"
    )
    while True:
        process = subprocess.Popen(
            [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        process.stdout.readline()
        if kills < max_kills:
            time.sleep(rng.uniform(0, 2 * share))
            process.send_signal(signal.SIGKILL)
        status = process.wait(600)
        process.stdout.close()
        if status == 0:
            break
        assert status == -signal.SIGKILL
        kills += 1
    cache = PixelCache(tmp_path, count, 64)
    assert not cache.find_wrong_rows().size
    expected = PixelCache(tmp_path / "expected", len(files), 64)
    expected.fill(files)
    for row in range(count):
        assert np.array_equal(cache.pixels[row], expected.pixels[row % len(files)]), row
    figures["a cache's kills"] = kills
    assert kills


@pytest.mark.soak
def test_the_checksums_of_a_cache_cost_little(tmp_path, share, figures):
    """Verify 2,700 photos of 256 pixels, as a run does when it opens a cache; 531 MB."""
    count = int(2700 * share)
    cache, pixels = PixelCache(tmp_path, count, 256), np.zeros((256, 256, 3), np.uint8)
    for row in range(count):
        cache.write_row(row, pixels, 1.0)
    started = time.monotonic()
    assert not cache.find_wrong_rows().size
    figures["seconds that verifying 2,700 decoded photos takes"] = time.monotonic() - started


@pytest.mark.soak
def test_memory_is_flat_over_sixty_thousand_photos(tmp_path, share, figures):
    """Read an epoch of a cache of 60,000 photos, 12 GB of zeros."""
    count, process = int(60_000 * share), psutil.Process()
    cache = PixelCache(tmp_path, count, 256)
    order = np.random.default_rng(0).permutation(count)
    before, growth = process.memory_info().rss, 0
    for start in range(0, count, 32):
        pixels, _ = cache.read_rows(order[start : start + 32].tolist())
        growth = max(growth, process.memory_info().rss - before)
        assert pixels.shape[1:] == (3, 256, 256)
    figures["megabytes that an epoch of a large cache takes"] = growth / 1e6
    assert growth < 200e6
