"""Worker processes that are limited, replaced, and do not disturb each other."""

import errno
import multiprocessing.util
import os
import signal
import sys
import tempfile
from concurrent.futures import CancelledError, ThreadPoolExecutor

import numpy as np
import psutil
import pytest
from PIL import Image

from birds import drawn, photo
from birds.workers.decoder import JOB_LIMITS, LARGE_MEMORY, MEMORY, Decoder, Limits, plan_memory
from birds.workers.file_lock import FileLock
from birds.workers.pool import BaseContext, WorkerContext, find_temporary_folder
from birds.workers.task import DecoderBusy
from tests.birds import costly
from tests.birds.photos import PNG, encode_heic
from tests.browser import wait_until
from tests.decoders import linux_only

TIMEOUT = 60


@pytest.fixture(
    scope="module", params=["semaphores", pytest.param("no semaphores", marks=linux_only)]
)
def decoder(request):
    """Return a decoder with two processes and little time, also where there are no semaphores."""
    decoder = Decoder(2, Limits(cpu=1.0, wall=4.0))
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "no semaphores":
            patch.setattr(BaseContext, "RLock", refuse_semaphore)
        decoder.start()
        yield decoder
        decoder.close()


def refuse_semaphore(context):
    """Fail as AWS Lambda does."""
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def run(decoder, function, *arguments, data=b"photo", **options):
    return decoder.submit(function, data, *arguments, **options).result(TIMEOUT).value


@pytest.mark.parametrize("shares_memory", [True, False])
def test_a_worker_returns_what_the_function_returns_here(decoder, monkeypatch, shares_memory):
    monkeypatch.setattr(decoder, "shares_memory", shares_memory and decoder.shares_memory)
    for data in (*drawn.awkward_photos().values(), encode_heic(drawn.draw_bird("Green_Inkling"))):
        prepared = run(decoder, photo.prepare_photo, 64, data=data)
        expected = photo.prepare_photo(data, 64)
        assert np.array_equal(prepared.pixels, expected.pixels)
        assert prepared[1:] == expected[1:]
    with pytest.raises(photo.NotAPhoto):
        run(decoder, photo.prepare_photo, 64, data=b"Dear bird,")


@linux_only
@pytest.mark.parametrize("size", [(4000, 3000), (6000, 4000)])
def test_a_whole_png_is_reduced_in_a_worker(size):
    data = drawn.encode_photo(Image.new("RGBA", size, (9, 9, 9, 255)), "PNG")
    decoder = Decoder(1, JOB_LIMITS)
    try:
        decoded = run(decoder, photo.decode_upright, 320, data=data)
    finally:
        decoder.close()
    assert min(decoded.pixels.shape[:2]) == 1000
    assert (decoded.width, decoded.height) == size
    assert decoded.finder_pixels.min() == decoded.pixels.max() == 9


def test_an_image_of_2000_pixels_a_side_comes_back(decoder):
    size, pixels = run(decoder, costly.measure, 2000, data=b"\x07" * 100_000)
    assert (size, pixels.shape, pixels.min(), pixels.max()) == (100_000, (2000, 2000, 3), 7, 7)


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (costly.compute, photo.PhotoTooSlow),
        (costly.wait, photo.PhotoTooSlow),
        (costly.crash, photo.DamagedPhoto),
        (costly.fail, RuntimeError),
    ],
)
def test_a_worker_that_ends_or_fails_is_replaced_and_the_others_go_on(decoder, function, error):
    bad = decoder.submit(function, b"photo")
    before = run(decoder, photo.prepare_photo, 64, data=PNG)
    with pytest.raises(error):
        bad.result(TIMEOUT)
    for _ in range(4):
        assert np.array_equal(run(decoder, photo.prepare_photo, 64, data=PNG).pixels, before.pixels)


@linux_only
def test_a_photo_that_needs_memory_gets_the_large_worker_and_no_more(decoder):
    assert run(decoder, costly.allocate, MEMORY // 2) == MEMORY // 2
    assert run(decoder, costly.allocate, 2 * MEMORY) == 2 * MEMORY
    with pytest.raises(photo.PhotoNeedsMemory):
        run(decoder, costly.allocate, LARGE_MEMORY + 2**20)


@linux_only
def test_a_photo_that_waits_too_long_for_the_large_worker_is_told_to_come_again(decoder):
    first = decoder.large.schedule(TIMEOUT, costly.allocate, b"", 300 * 2**20)
    waiting = [decoder.submit(costly.allocate, b"", 2 * MEMORY, patience=-1) for _ in range(2)]
    for future in waiting:
        with pytest.raises(DecoderBusy):
            future.result(TIMEOUT)
    first.result(TIMEOUT)


def test_cancelling_ends_the_work_and_frees_the_worker(decoder, tmp_path):
    futures = [decoder.submit(costly.wait, b"", tmp_path / str(number)) for number in range(2)]
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    for future in futures:
        assert future.cancel()
    with pytest.raises(CancelledError):
        futures[0].result(TIMEOUT)
    assert run(decoder, costly.measure, 1)[0] == 5


def test_after_all_processes_were_killed_the_next_photo_is_decoded(decoder):
    workers = {run(decoder, costly.describe)[0] for _ in range(10)}
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    assert run(decoder, photo.prepare_photo, 64, data=PNG).width == 64


def test_a_worker_imports_neither_the_main_module_nor_the_model(decoder):
    pid, main = run(decoder, costly.describe)
    assert main is None or main != getattr(sys.modules["__main__"], "__file__", None)
    maps = {mapping.path for mapping in psutil.Process(pid).memory_maps()}
    assert not any("onnxruntime" in path or "torch" in path for path in maps)


def test_a_decoder_that_is_closed_leaves_no_process_and_no_open_file():
    process = psutil.Process()
    open_files = process.num_fds()
    decoder = Decoder(1)
    pid, _ = run(decoder, costly.describe)
    for _ in range(20):
        run(decoder, costly.measure, 10)
    decoder.close()
    assert not psutil.pid_exists(pid)
    assert process.num_fds() <= open_files + 2  # of Python's server of processes


def test_the_plan_follows_cpus_and_memory():
    assert plan_memory(float("inf"), 2) == (3, LARGE_MEMORY)
    assert plan_memory(2048 * 2**20, 1) == (2, LARGE_MEMORY)
    assert plan_memory(16 * 2**30, 64)[0] == 65
    assert plan_memory(1024 * 2**20, 8)[0] < 9
    workers, large_memory = plan_memory(512 * 2**20, 2)
    assert (workers, MEMORY <= large_memory < LARGE_MEMORY) == (1, True)


def hold(lock, connection):
    """Take a lock twice, and keep it until the other end of a connection says to end."""
    connection.send(lock.acquire() and lock.acquire(timeout=0))
    connection.recv()


@linux_only
def test_a_file_lock_excludes_other_processes_until_its_owner_ends():
    lock, context = FileLock(), WorkerContext()
    here, there = context.Pipe()
    process = context.Process(target=hold, args=(lock, there))
    process.start()
    assert here.recv()
    assert not lock.acquire(block=False)
    assert not lock.acquire(timeout=0.05)
    process.kill()  # while it holds the lock twice
    assert lock.acquire(timeout=TIMEOUT)
    assert lock.acquire(block=False)
    process.join()
    with ThreadPoolExecutor(1) as other_thread:
        assert not other_thread.submit(lock.acquire, False).result()
        lock.release()
        assert not other_thread.submit(lock.acquire, False).result()
        lock.release()
        assert other_thread.submit(lock.acquire, False).result()


@linux_only
def test_a_file_lock_is_given_back_by_its_owner_only():
    lock = FileLock()
    with pytest.raises(AssertionError):
        lock.release()
    assert lock.acquire()
    with ThreadPoolExecutor(1) as other_thread, pytest.raises(AssertionError):
        other_thread.submit(lock.release).result()
    lock.release()


@linux_only
def test_sockets_are_not_in_a_temporary_folder_with_a_long_path(monkeypatch, tmp_path):
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setitem(multiprocessing.current_process()._config, "tempdir", None)
    find_temporary_folder()
    assert tempfile.gettempdir() == str(folder)
    assert len(multiprocessing.util.get_temp_dir()) < 40
