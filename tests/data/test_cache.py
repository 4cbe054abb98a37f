"""Photos are decoded once: the cache holds what was in them, and no interruption spoils it."""

import random
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from PIL import Image

from birds import drawn, photo
from fieldmark.data import cache
from fieldmark.data.cache import Cache, cached
from fieldmark.data.locations import PhotosError
from fieldmark.data.survey import survey
from tests.conftest import ROOT, SIZE


@pytest.fixture
def seen(table, folder):
    return survey(table, folder)


@pytest.fixture
def whole(table, seen, folder, tmp_path):
    return cached(table, seen, folder, SIZE, home=tmp_path)


def taught(table):
    return table[table["split"] == "train"]


def test_a_cache_holds_each_photo_that_trains_whole_and_squeezed(table, folder, whole):
    assert len(whole) == len(taught(table))
    for row in (0, 17, len(whole) - 1):
        image = Image.open(folder / taught(table)["path"].iloc[row])
        expected = image.resize((whole.side,) * 2, Image.Resampling.BICUBIC)
        assert np.array_equal(whole.pixels[row], np.asarray(expected))
        assert whole.aspects[row] == pytest.approx(image.width / image.height)


def test_a_turned_photo_lies_upright_and_its_aspect_is_the_upright_one(tmp_path):
    (tmp_path / "turned.jpg").write_bytes(
        drawn.encode_rotated(6, drawn.draw_bird("Green_Inkling", 0, 90, 60))
    )
    made = Cache(tmp_path, 1, 64)
    made.fill([tmp_path / "turned.jpg"])
    upright, _ = photo.decode_photo((tmp_path / "turned.jpg").read_bytes(), 64)
    assert made.aspects[0] == pytest.approx(upright.width / upright.height)
    assert np.array_equal(made.pixels[0], np.asarray(upright.resize((64, 64))))


def test_photos_are_decoded_once_whatever_run_asks(table, seen, folder, whole, monkeypatch):
    monkeypatch.setattr(Cache, "put", None)  # would fail
    again = cached(table, seen, folder, SIZE, home=whole.folder.parent)
    assert again.folder == whole.folder
    assert np.array_equal(again.pixels, whole.pixels)


def test_another_size_filter_or_photo_has_a_cache_of_its_own(table, seen, folder, whole):
    home, places = whole.folder.parent, {whole.folder}
    places.add(cached(table, seen, folder, SIZE + 32, home=home).folder)
    places.add(cached(table, seen, folder, SIZE, "bilinear", home=home).folder)
    changed = seen.assign(sha256=seen["sha256"].where(seen.index > 0, "another"))
    places.add(cached(table, changed, folder, SIZE, home=home).folder)
    assert len(places) == 4


def test_a_cache_that_was_interrupted_is_completed(table, seen, folder, whole, tmp_path):
    """As if killed while a photo was written: some rows are done, one is half written."""
    pixels = whole.pixels.copy()
    whole.pixels[5:] = 77
    whole.done[5:] = False
    again = cached(table, seen, folder, SIZE, home=tmp_path)
    assert np.array_equal(again.pixels, pixels)
    assert again.done.all()


def test_files_that_were_cut_short_are_made_anew(table, seen, folder, whole, tmp_path):
    pixels = whole.pixels.copy()
    file = whole.folder / "pixels.npy"
    with file.open("r+b") as cut:
        cut.truncate(1000)
    (whole.folder / "done.npy").unlink()
    assert np.array_equal(cached(table, seen, folder, SIZE, home=tmp_path).pixels, pixels)


def test_pixels_that_were_lost_are_not_taken_for_done(table, seen, folder, whole, tmp_path):
    pixels = whole.pixels.copy()
    (whole.folder / "pixels.npy").unlink()
    assert np.array_equal(cached(table, seen, folder, SIZE, home=tmp_path).pixels, pixels)


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(tmp_path, monkeypatch):
    usage = cache.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: usage._replace(free=2 * 10**9))
    cache.room(tmp_path / "fits", 10**8)
    with pytest.raises(PhotosError, match=r"5\.0 GB.*2\.0 GB left.*`cache: false`"):
        cache.room(tmp_path / "large", 5 * 10**9)


def test_a_photo_that_can_not_be_read_is_named(tmp_path):
    (tmp_path / "letter.jpg").write_text("Dear bird,")
    with pytest.raises(PhotosError, match=r"letter\.jpg can't be learned from"):
        Cache(tmp_path, 1, 64).fill([tmp_path / "letter.jpg"])


@pytest.mark.soak
def test_ten_thousand_photos_interrupted_at_random_are_completed(tmp_path, share, figures):
    """SIGKILL, again and again, at moments drawn by a seed; then every pixel is compared."""
    count, most, dice, kills = int(10_000 * share), max(2, int(20 * share)), random.Random(0), 0
    files = [tmp_path / f"{name}.jpg" for name in drawn.SPECIES]
    for file in files:
        file.write_bytes(drawn.encode_photo(drawn.draw_bird(file.stem, 0, 1000, 750)))
    script = (
        "import sys; from pathlib import Path; from fieldmark.data.cache import Cache\n"
        f"files = [Path(f) for f in {[str(f) for f in files]!r}]\n"
        f"many = [files[row % {len(files)}] for row in range({count})]\n"
        f"made = Cache(Path({str(tmp_path)!r}), {count}, 64)\n"
        "print('begun', flush=True)\n"
        "made.fill(many)\n"
    )
    while True:
        process = subprocess.Popen(
            [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        process.stdout.readline()
        if kills < most:
            time.sleep(dice.uniform(0, 2 * share))
            process.send_signal(signal.SIGKILL)
        ended = process.wait(600)
        process.stdout.close()
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
        kills += 1
    made = Cache(tmp_path, count, 64)
    assert made.done.all()
    alone = Cache(tmp_path / "alone", len(files), 64)
    alone.fill(files)
    for row in range(count):
        assert np.array_equal(made.pixels[row], alone.pixels[row % len(files)]), row
    figures["a cache's kills"] = kills
    assert kills


@pytest.mark.soak
def test_memory_is_flat_over_sixty_thousand_photos(tmp_path, share, figures):
    """An epoch of a cache as large as of 60,000 photos, 12 GB; its pixels are all zeros."""
    count, process = int(60_000 * share), psutil.Process()
    large = Cache(tmp_path, count, 256)
    order = np.random.default_rng(0).permutation(count)
    before, most = process.memory_info().rss, 0
    for first in range(0, count, 32):
        pixels, _ = large.take(order[first : first + 32].tolist())
        most = max(most, process.memory_info().rss - before)
        assert pixels.shape[1:] == (3, 256, 256)
    figures["megabytes that an epoch of a large cache takes"] = most / 1e6
    assert most < 200e6
