"""Nothing that is run here reports to the makers of onnxruntime."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

OWN_SETTINGS = ("CI", "XDG_CACHE_HOME")  # those that onnxruntime looks at, with the ones below
MODULES = ("birds.sessions", "export.predictions", "fieldmark.network.embeddings")


def written_by(module, home) -> list[str]:
    """Return what a process that loads onnxruntime by a module leaves in its home folder."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in OWN_SETTINGS and not name.startswith("ORT_") and "CI" not in name.split("_")
    }
    environment |= {"HOME": str(home), "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT}/azure_function"}
    code = f"import {module}, onnxruntime; onnxruntime.get_available_providers()"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment, check=True)
    return [path.name for path in home.rglob("*") if "onnxruntime" in path.name]


@pytest.mark.parametrize("module", MODULES)
def test_onnxruntime_keeps_no_identifier_of_this_computer(module, tmp_path):
    assert not written_by(module, tmp_path)


def test_onnxruntime_alone_would_keep_one(tmp_path):
    assert written_by("onnxruntime", tmp_path)
