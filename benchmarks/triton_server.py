"""Start NVIDIA's Triton server, which the wheel of `nvidia-pytriton` contains."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import requests

from commands.processes import find_free_port

ENVIRONMENT = Path(".venv/triton")
START_SECONDS = 120


class TritonServer(NamedTuple):
    """The addresses of a server, and its process."""

    http: str
    grpc: str
    process: subprocess.Popen


@contextmanager
def run_triton(
    repository: Path, scratch: Path, environment: Path = ENVIRONMENT
) -> Iterator[TritonServer]:
    """Serve a model repository until the block ends; files of the server lie in `scratch`.

    Raises RuntimeError with the log's end if it does not become ready.
    """
    environment = environment.absolute()
    (package,) = environment.glob("lib/python3.*/site-packages/pytriton")
    version = package.parents[1].name.removeprefix("python")
    backends = copy_backends(package / "tritonserver", version, scratch / "backends")
    http, grpc, log = find_free_port(), find_free_port(), scratch / "triton.log"
    command = [str(package / "tritonserver/bin/tritonserver")]
    command += [f"--model-repository={repository}", f"--backend-directory={backends}"]
    command += [f"--http-port={http}", f"--grpc-port={grpc}", "--allow-metrics=false"]
    command += ["--http-address=127.0.0.1", "--grpc-address=127.0.0.1", "--exit-timeout-secs=5"]
    variables = os.environ | {
        "PATH": f"{environment / 'bin'}:{os.environ['PATH']}",  # of the backend's Python
        "LD_LIBRARY_PATH": str(package.parent / "nvidia_pytriton.libs"),
        "ORT_DISABLE_TELEMETRY": "1",
    }
    for name in ("PYTHONPATH", "VIRTUAL_ENV"):
        variables.pop(name, None)
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=variables, stdout=output, stderr=output)
    try:
        wait_until_ready(f"http://127.0.0.1:{http}/v2/health/ready", process, log)
        yield TritonServer(f"127.0.0.1:{http}", f"127.0.0.1:{grpc}", process)
    finally:
        process.terminate()
        process.wait(60)


def copy_backends(server: Path, version: str, folder: Path) -> Path:
    """Copy the Python backend, with the process that runs models in a version of Python."""
    shutil.copytree(server / "backends", folder)
    stub = "triton_python_backend_stub"
    shutil.copy(server / "python_backend_stubs" / version / stub, folder / "python" / stub)
    return folder


def wait_until_ready(address: str, process: subprocess.Popen, log: Path) -> None:
    """Return when all models are loaded; raise RuntimeError if that fails."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(address, timeout=5).ok:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.1)
    lines = log.read_text(errors="replace").splitlines()
    errors = [line for line in lines if line.startswith("E")] or lines[-10:]
    raise RuntimeError("\n".join(["Triton is not ready:", *errors]))
