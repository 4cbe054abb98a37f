"""Compare a model in NVIDIA's Triton server with the function: answers, and photos a second.

    make .venv/servers
    FIELDMARK_PHOTOS=... python -m benchmarks.triton [RUN] [--photos 400] [--save]

Both serve the same model file on the same CPUs, and get the same held-out photos from the same
clients, in turns. Triton runs onnxruntime in its Python backend: the server of this wheel has no
other. The client shares the CPUs with the server.
"""

import asyncio
import itertools
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import psutil
import requests
import tritonclient.grpc.aio as grpc_client  # pyright: ignore[reportMissingImports]
import tritonclient.http as http_client  # pyright: ignore[reportMissingImports]
import typer

from benchmarks import client
from benchmarks.memory import measure_tree
from benchmarks.results import FIGURE, MODEL, RunFolder, Save, number, percent, report
from benchmarks.serve import TIMEOUT, run_server, wait_for_result
from benchmarks.triton_server import TritonServer, run_triton
from birds import drawn
from export.predictions import held_out_photos
from export.triton.config import Backend
from export.triton.repository import export_repository
from fieldmark.data.run_photos import find_run_photos
from fieldmark.run import Run
from fieldmark.statistics import bootstrap_interval, wilson_interval

ANSWER = ["answer"]
HTTP, GRPC = "Triton, HTTP", "Triton, gRPC"
COLUMNS = ("clients", "the function, photos a second", HTTP, "ratio", GRPC, "ratio", "rounds")


class Servers(NamedTuple):
    """The address of the function's route, a Triton server of the model, and both processes."""

    function: str
    triton: TritonServer
    processes: tuple[psutil.Process, psutil.Process]


def main(
    run: RunFolder = MODEL,
    photos: int = 400,
    clients: list[int] = [1, 4, 8],  # noqa: B006
    batch: int = 60,
    rounds: Annotated[int, typer.Option(min=2)] = 20,
    save: Save = False,
) -> None:
    """Print how answers differ, and a row of photos a second for each number of clients."""
    data = load_photos(Run(run), photos)
    command = f"python -m benchmarks.triton --photos {photos} --batch {batch} --rounds {rounds}"
    labels = [label["label"] for label in Run(run).card["labels"]]
    with run_servers(run, data[0]) as servers:
        compared = list(compare_answers(servers, [*data, *drawn.awkward_photos().values()], labels))
        measured = asyncio.run(measure(servers, data, clients, batch, rounds))
        memory = [measure_tree(process) for process in servers.processes]
    report("triton-answers", command, FIGURE, [*answer_rows(compared), *memory_rows(memory)], save)
    report("triton", command, COLUMNS, throughput_rows(measured), save)


def load_photos(run: Run, count: int) -> list[bytes]:
    """Return the bytes of some of a run's held-out photos."""
    table, folder = held_out_photos(run.split), find_run_photos(run)
    paths = table["path"].sample(min(count, len(table)), random_state=0)
    return [(folder / path).read_bytes() for path in paths]


@contextmanager
def run_servers(run: Path, photo: bytes) -> Iterator[Servers]:
    """Serve a run by both servers until the block ends; yield them once they classify a photo."""
    with tempfile.TemporaryDirectory() as scratch:
        repository = Path(scratch, "repository")
        export_repository(run, repository, Backend.PYTHON)
        model = Run(run).model_file.resolve()
        with (
            run_server("this function", model) as (url, process),
            run_triton(repository, Path(scratch)) as triton,
        ):
            wait_for_result(url, (photo, "image/jpeg"), process)
            infer(triton, photo)
            yield Servers(url, triton, (process, psutil.Process(triton.process.pid)))


def encode_input(module, photo: bytes):
    """Return a photo as the input of `birds`, for a client of HTTP or gRPC."""
    tensor = module.InferInput("photo", [1, 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[photo]], np.object_))
    return tensor


def infer(triton: TritonServer, photo: bytes) -> tuple[dict, np.ndarray]:
    """Return the answer of Triton and the probabilities [C]."""
    with http_client.InferenceServerClient(triton.http) as connection:
        result = connection.infer("birds", [encode_input(http_client, photo)])
    answer, probability = (np.asarray(result.as_numpy(name)) for name in ("answer", "probability"))
    return json.loads(answer[0, 0]), probability[0]


def compare_answers(
    servers: Servers, photos: Sequence[bytes], labels: Sequence[str]
) -> Iterator[dict]:
    """Yield whether first prediction, answer and crop of each photo are equal, and `difference`."""
    for photo in photos:
        response = requests.post(f"{servers.function}?top=100000", photo, timeout=TIMEOUT)
        expected, (answer, probability) = response.json(), infer(servers.triton, photo)
        predictions = expected["predictions"]
        by_label = {each["label"]: each["probability"] for each in predictions}
        ordered = np.array([by_label[label] for label in labels])
        yield {
            "first prediction": predictions[0]["label"] == answer["predictions"][0]["label"],
            "answer": expected["answer"] == answer["answer"],
            "crop": expected["photo"] == answer["photo"],
            "difference": float(np.abs(ordered - probability).max()),
        }


def answer_rows(compared: Sequence[dict]) -> list[list[str]]:
    """Return a row for each part of the answers, and for the largest difference."""
    rows = []
    for part in ("first prediction", "answer", "crop"):
        equal = sum(row[part] for row in compared)
        rows.append(
            [f"{part} equal", percent(wilson_interval(equal, len(compared))), f"{len(compared)}"]
        )
    largest = max(row["difference"] for row in compared)
    rows.append(["largest difference of a probability", f"{largest:.1g}", f"{len(compared)}"])
    return rows


def memory_rows(memory: Sequence[float]) -> list[list[str]]:
    """Return a row for the megabytes of each server."""
    names = "the function", "Triton"
    return [
        [f"MB of memory of {name}, after the load", f"{size:,.0f}", ""]
        for name, size in zip(names, memory, strict=True)
    ]


async def measure(
    servers: Servers, photos: Sequence[bytes], clients: Sequence[int], batch: int, rounds: int
) -> dict[int, np.ndarray]:
    """Return photos a second of the function and of Triton over HTTP and gRPC, [rounds, 3].

    In a round each gets the same `batch` of photos, in an order that changes; a round before the
    first warms them.
    """
    address = f"http://{servers.triton.http}/v2/models/birds/infer"
    requests = {
        servers.function: [client.encode_request(servers.function, photo) for photo in photos],
        address: [encode_http(address, photo) for photo in photos],
    }
    inputs = [encode_input(grpc_client, photo) for photo in photos]
    measured = {}
    async with grpc_client.InferenceServerClient(servers.triton.grpc) as connection:
        for count in clients:
            found = np.zeros((rounds + 1, 3))
            for turn, way in itertools.product(range(rounds + 1), range(3)):
                way = (way + turn) % 3
                rows = [(turn * batch + number) % len(photos) for number in range(batch)]
                if way < len(requests):
                    url = list(requests)[way]
                    found[turn, way] = await run_http(url, [requests[url][r] for r in rows], count)
                else:
                    found[turn, way] = await run_grpc(connection, [inputs[r] for r in rows], count)
            measured[count] = found[1:]
    return measured


async def run_http(url: str, requests: list[bytes], clients: int) -> float:
    """Let some clients send requests over HTTP; return photos a second."""
    load = await client.run_requests(url, requests, clients)
    if set(load.seconds) != {200}:
        raise RuntimeError(f"{url} responded with {load.status_counts()}")
    return load.throughput


def encode_http(address: str, photo: bytes) -> bytes:
    """Return a request of Triton's HTTP protocol with binary data, for `answer` only."""
    outputs = [http_client.InferRequestedOutput(name, binary_data=True) for name in ANSWER]
    body, length = http_client.InferenceServerClient.generate_request_body(
        [encode_input(http_client, photo)], outputs=outputs
    )
    header = f"inference-header-content-length: {length}\r\n"
    return client.encode_request(address, body, "application/octet-stream", header)


async def run_grpc(connection: grpc_client.InferenceServerClient, inputs: list, clients: int):
    """Let some clients send inputs over gRPC; return photos a second."""
    output = [grpc_client.InferRequestedOutput(name) for name in ANSWER]
    waiting, started = iter(inputs), time.perf_counter()

    async def run_client() -> None:
        for each in waiting:
            await connection.infer("birds", [each], outputs=output)

    await asyncio.gather(*(run_client() for _ in range(clients)))
    return len(inputs) / (time.perf_counter() - started)


def throughput_rows(measured: dict[int, np.ndarray]) -> list[list[str]]:
    """Return a row for each number of clients: medians, and ratios to the function's in a round."""
    rows = []
    for clients, rates in measured.items():
        medians = [f"{median:.1f}" for median in np.median(rates, 0)]
        ratios = [
            number(bootstrap_interval((rates[:, way] / rates[:, 0],), np.median), 2)
            for way in (1, 2)
        ]
        cells = [medians[0], medians[1], ratios[0], medians[2], ratios[1]]
        rows.append([f"{clients}", *cells, f"{len(rates)}"])
    return rows


if __name__ == "__main__":
    typer.run(main)
