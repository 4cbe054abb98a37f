"""Describe the machine and software that trained a model."""

import os
import platform
import subprocess
from importlib.metadata import distributions
from pathlib import Path


def describe_environment() -> dict:
    """Return system, processors, Python, packages and the commit of this code.

    Nothing in it identifies a person, a host name or a path.
    """
    import torch

    gpus = range(torch.cuda.device_count())
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "gpu": [torch.cuda.get_device_name(gpu) for gpu in gpus],
        "cuda": torch.version.cuda if gpus else None,
        "commit": current_commit(),
        "packages": dict(sorted((d.name.lower(), d.version) for d in distributions() if d.name)),
    }


def cpu_name() -> str:
    """Return the name of the processor, which Linux has in a file only."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def current_commit() -> str | None:
    """Return the commit of this code, followed by "+ changes" if files differ; None without git."""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty= + changes"]
    folder = Path(__file__).parent
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)  # noqa: S603
    except OSError:
        return None
    return done.stdout.strip() or None


def describe_machine(environment: dict) -> str:
    """Return the GPUs that trained a model, else its processor, in words."""
    if gpus := environment.get("gpu"):
        return " and ".join(gpus)
    if not environment:
        return "an unknown machine"
    return f"{environment.get('cpu')}, {environment.get('cores')} cores"
