"""Heavy code imports light code, never the reverse; nothing deployed imports torch."""

import ast

import pytest

from tests.conftest import ROOT

OURS = {"training", "export", "birds", "function_app", "app", "client", "page", "serve"}
HEAVY = {"torch", "torchvision", "fastai", "timm", "onnx", "onnxscript", "sklearn", "pandas"}
MAY_IMPORT = {
    "training": {"training", "export", "birds"},
    "export": {"export", "birds"},
    "azure_function/birds": {"birds"},
    "azure_function/function_app.py": {"birds"},
    "app": {"client", "page"},
    "serve.py": set(),
}
LIGHT = ["azure_function/birds", "azure_function/function_app.py", "app", "serve.py"]
CORE = ["__init__", "photo", "classifier", "drawn", "answer"]


def imports(path) -> set[str]:
    """Return the top-level names that a file imports, those inside functions included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.split(".")[0])
    return found


def files(place: str):
    path = ROOT / place
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


@pytest.mark.parametrize("place", MAY_IMPORT)
def test_every_arrow_points_from_heavy_to_light(place):
    assert files(place)
    for path in files(place):
        wrong = (imports(path) & OURS) - MAY_IMPORT[place]
        assert not wrong, f"{path} imports {wrong}"


@pytest.mark.parametrize("place", LIGHT)
def test_what_is_deployed_imports_nothing_heavy(place):
    for path in files(place):
        assert not imports(path) & HEAVY, path


@pytest.mark.parametrize("module", CORE)
def test_the_core_knows_nothing_of_http(module):
    path = ROOT / f"azure_function/birds/{module}.py"
    assert not imports(path) & {"fastapi", "starlette", "azure"}
