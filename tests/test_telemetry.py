"""Nothing that is run here reports to the makers of onnxruntime or MLflow."""

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

OWN_SETTINGS = (  # those that onnxruntime and MLflow look at, with the ones below
    *("CI", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "DO_NOT_TRACK"),
    *("GITHUB_ACTIONS", "PYTEST_CURRENT_TEST"),
)
MODULES = ("birds.sessions", "export.predictions", "fieldmark.network.embeddings")


def files_written_by(home, *modules) -> list[str]:
    """Return what a process that loads modules leaves in its home folder."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in OWN_SETTINGS
        and not name.startswith(("ORT_", "MLFLOW_"))
        and "CI" not in name.split("_")
    }
    environment |= {"HOME": str(home), "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT}/azure_function"}
    code = f"import {', '.join(modules)}"
    if "onnxruntime" in modules:
        code += "; onnxruntime.get_available_providers()"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment, check=True)
    return [path.as_posix() for path in home.rglob("*") if path.is_file()]


def identifiers(files: list[str]) -> list[str]:
    return [file for file in files if "onnxruntime" in file or file.endswith("telemetry.json")]


@pytest.mark.parametrize("module", MODULES)
def test_onnxruntime_keeps_no_identifier_of_this_computer(module, tmp_path):
    assert not identifiers(files_written_by(tmp_path, module, "onnxruntime"))


def test_mlflow_keeps_no_identifier_of_this_computer(tmp_path):
    assert not identifiers(files_written_by(tmp_path, "fieldmark.training.tracking.mlflow_server"))


@pytest.mark.parametrize("package", ["onnxruntime", "mlflow.client"])
def test_a_package_alone_would_keep_one(package, tmp_path):
    assert identifiers(files_written_by(tmp_path, package))


def test_every_package_that_loads_onnxruntime_loads_birds_first():
    loads = re.compile(r"^(import|from) onnxruntime", re.MULTILINE)
    files = [path.relative_to(ROOT) for path in ROOT.glob("[a-z]*/**/*.py")]
    packages = {file.parts[0] for file in files if loads.search((ROOT / file).read_text("utf-8"))}
    assert packages == {"azure_function", "benchmarks", "export", "fieldmark", "tests"}
    for package in packages - {"azure_function", "tests"}:
        first = (ROOT / package / "__init__.py").read_text("utf-8")
        assert "import birds" in first, package
