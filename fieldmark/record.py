"""What a run leaves behind beside its model: where, how and how well it learned."""

import json
import os
import platform
import subprocess
from importlib.metadata import distributions
from pathlib import Path

import pandas as pd
import torch

from fieldmark.evaluation.metrics import Answers

TABLES = ("history", "answers", "per_class")
FACTS = ("metrics", "environment", "card", "cost")
FILES = (*(f"{name}.csv" for name in TABLES), *(f"{name}.json" for name in FACTS))


def environment() -> dict:
    """Tell with what a model was made: system, processors, Python, packages, and our own commit.

    Nothing in it tells whose machine it was.
    """
    gpus = range(torch.cuda.device_count())
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": processor(),
        "cores": os.cpu_count(),
        "gpu": [torch.cuda.get_device_name(gpu) for gpu in gpus],
        "cuda": torch.version.cuda if gpus else None,
        "commit": commit(),
        "packages": dict(sorted((d.name.lower(), d.version) for d in distributions() if d.name)),
    }


def processor() -> str:
    """Name the processor; Linux tells its name in a file only."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def commit() -> str | None:
    """Return the commit of this code, with `+ changes` if any file differs; None without git."""
    told = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty= + changes"]
    home = Path(__file__).parent
    try:
        done = subprocess.run(told, cwd=home, capture_output=True, text=True, timeout=60)  # noqa: S603
    except OSError:
        return None
    return done.stdout.strip() or None


def write(
    out: Path, history: pd.DataFrame, answers: Answers, metrics: dict, classes: pd.DataFrame
) -> None:
    """Write into the run what is known before the model file; all of FILES but card and cost."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    for name, table in zip(TABLES, (history, answers.table, classes), strict=True):
        table.to_csv(out / f"{name}.csv", index=False, float_format="%.6g")
    write_facts(out, metrics=metrics, environment=environment())


def write_facts(out: Path, **facts: dict) -> None:
    """Write FACTS into the run, each as a file of JSON."""
    for name, each in facts.items():
        text = json.dumps(each, indent=2, ensure_ascii=False)
        (Path(out) / f"{name}.json").write_text(text + "\n", encoding="utf-8")
