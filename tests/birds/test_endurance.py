"""Overload, ten thousand requests, ten thousand mutated photos: the function as it is served."""

import asyncio
import random

import pytest
import requests
from PIL import Image

from benchmarks import client
from birds import drawn
from birds.process import cpu_count
from tests.birds.test_photo import heic
from tests.browser import free_port, run_server
from tests.conftest import ROOT

pytestmark = pytest.mark.soak


@pytest.fixture
def function(tmp_path):
    """Serve the shipped model, and yield the address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    command = ["uvicorn", "birds.api:app", f"--port={port}", "--no-access-log"]
    with run_server(command, ROOT / "azure_function", f"{url}/health", tmp_path / "log"):
        yield url


def health(url: str) -> dict:
    return requests.get(f"{url}/health", timeout=60).json()


def load(url: str, photos: list[bytes], seconds: float, **how) -> client.Load:
    run = client.run_arrivals if "rate" in how else client.run_clients
    posts = [client.encode_request(f"{url}/classify", data) for data in photos]
    return asyncio.run(run(url, posts, seconds=seconds, **how))


def test_at_four_times_its_capacity_it_answers_or_says_that_it_is_busy(function, share, figures):
    photos = [drawn.encode_photo(drawn.draw_bird(name, 0, 240, 240)) for name in drawn.SPECIES]
    seconds = 60 * share
    load(function, photos, 1 + 4 * share, clients=1)  # warm
    alone = load(function, photos, 1 + 9 * share, clients=1)
    full = load(function, photos, 1 + 9 * share, clients=cpu_count())
    over = load(function, photos, max(2, seconds), rate=4 * full.throughput)
    after = load(function, photos, 1 + 4 * share, clients=cpu_count())
    found = {
        "capacity a second": full.throughput,
        "statuses": over.status_counts(),
        "p50 and p99 alone": [alone.quantile(0.5), alone.quantile(0.99)],
        "p50 and p99 of the accepted": [over.quantile(0.5), over.quantile(0.99)],
        "answers a second over capacity": over.throughput,
        "answers a second in the 5 s after": after.throughput,
        "the client's CPUs": over.client_cpu / over.duration,
    }
    figures["overload"] = found
    assert set(over.seconds) == {200, 503}
    assert set(after.seconds) == {200}
    assert health(function)["in_flight"] == 0
    if share == 1:
        assert over.quantile(0.99) < 3 * alone.quantile(0.99), found
        assert after.throughput > 0.9 * full.throughput, found


def test_memory_is_flat_over_ten_thousand_requests(function, share, figures):
    pick, count = random.Random(5), int(10_000 * share)
    photos = [drawn.encode_photo(drawn.draw_bird("Night_Inkling", 0, *size)) for size in SIZES]
    photos += [
        drawn.encode_photo(drawn.draw_bird("Green_Inkling", 0, *size), "PNG") for size in SIZES[:3]
    ]
    photos += [drawn.awkward_photos()["12 megapixels"], b"Dear bird,"]
    resident = []
    with requests.Session() as session:
        for number in range(count):
            data = photos[min(pick.randrange(len(photos)), pick.randrange(len(photos)))]
            answer = session.post(f"{function}/classify", data=data, timeout=60)
            assert answer.status_code in (200, 415)
            if (number + 1) % (count // 10) == 0:
                resident.append(health(function)["resident_bytes"])
    figures["resident bytes after each tenth of the requests"] = resident
    assert resident[-1] < (1.05 if share == 1 else 1.5) * resident[0], resident


SIZES = [(240, 240), (400, 300), (300, 400), (1600, 1200), (1200, 1600)]


def originals() -> dict[str, bytes]:
    """Return one photo of each format and kind that is read."""
    pixels = drawn.draw_bird("Ruby_capped_Inkling", 0, 160, 120)
    frames = [Image.fromarray(drawn.draw_bird(name, 0, 160, 120)) for name in drawn.SPECIES]
    film = {"save_all": True, "append_images": frames[1:]}
    return {
        "JPEG": drawn.encode_photo(pixels),
        "JPEG, progressive": drawn.encode_photo(pixels, progressive=True),
        "JPEG, turned": drawn.encode_rotated(6, pixels),
        "JPEG, CMYK": drawn.encode_photo(Image.fromarray(pixels).convert("CMYK")),
        "PNG": drawn.encode_photo(pixels, "PNG"),
        "PNG, palette": drawn.encode_photo(Image.fromarray(pixels).convert("P"), "PNG"),
        "PNG, animated": drawn.encode_photo(frames[0], "PNG", **film),
        "WebP": drawn.encode_photo(pixels, "WEBP"),
        "WebP, lossless": drawn.encode_photo(pixels, "WEBP", lossless=True),
        "WebP, animated": drawn.encode_photo(frames[0], "WEBP", **film),
        "GIF": drawn.encode_photo(frames[0], "GIF", **film),
        "BMP": drawn.encode_photo(pixels, "BMP"),
        "HEIC": heic(pixels),
    }


def mutated(data: bytes, other: bytes, dice: random.Random) -> bytes:
    """Damage a photo in one to four ways, most often where its structure stands: at its start."""
    damaged = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        reach = min(len(damaged), 2 ** dice.randint(4, 16))
        place = dice.randrange(reach) if reach else 0
        length = min(2 ** dice.randint(0, 8), len(damaged) - place)
        match dice.randrange(7):
            case 0:
                damaged[place : place + 1] = dice.randbytes(1)
            case 1:
                damaged[place : place + length] = dice.randbytes(length)
            case 2:
                damaged[place : place + 4] = dice.choice((b"\xff", b"\0", b"\x7f")) * 4
            case 3:
                del damaged[place : place + length]
            case 4:
                damaged[place:place] = damaged[place : place + length]
            case 5:
                del damaged[dice.randrange(len(damaged)) :]
                damaged = damaged or bytearray(b"x")
            case 6:
                begin = dice.randrange(len(other))
                damaged[place:place] = other[begin : begin + length]
    return bytes(damaged)


def test_no_mutated_photo_is_a_crash_a_hang_or_a_fault_of_ours(model, tmp_path, share, figures):
    port = free_port()
    url, count = f"http://127.0.0.1:{port}/api", int(10_000 * share)
    photos, found, slowest = originals(), {}, 0.0
    with (
        run_server(
            ["uvicorn", "birds.api:app", f"--port={port}", "--no-access-log"],
            ROOT / "azure_function",
            f"{url}/health",
            tmp_path / "log",
            FIELDMARK_MODEL=str(model),
        ),
        requests.Session() as session,
    ):
        for data in photos.values():
            assert session.post(f"{url}/classify", data=data, timeout=60).status_code == 200
        for number in range(count):
            dice = random.Random(number)
            name = dice.choice(list(photos))
            data = mutated(photos[name], dice.choice(list(photos.values())), dice)
            answer = session.post(f"{url}/classify", data=data, timeout=60)
            assert answer.status_code in (200, 400, 413, 415, 422), (number, name, answer.text)
            found.setdefault(name, {}).setdefault(answer.status_code, 0)
            found[name][answer.status_code] += 1
            slowest = max(slowest, answer.elapsed.total_seconds())
        assert health(url)["status"] == "ready"
    figures["mutated photos"] = {"statuses": found, "slowest, seconds": slowest}
    assert len({status for each in found.values() for status in each}) >= 3
    if share == 1:
        assert slowest < 2, slowest
