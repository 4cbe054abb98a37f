"""Heavy code imports light code, never the reverse; nothing deployed imports torch."""

import ast
import subprocess
import sys

import pytest

from tests.conftest import ROOT

OURS = {"training", "export", "birds", "function_app", "app", "client", "page", "serve"}
OURS |= {"bundle", "front", "heating", "visitors", "wire"}
MAY_IMPORT = {  # of ours
    "training": {"training", "export", "birds"},
    "export": {"export", "birds"},
    "azure_function/birds": {"birds"},
    "azure_function/function_app.py": {"birds"},
    "app": {"bundle", "client", "heating", "page", "visitors"},
    "serve.py": set(),
}
MAY_NEED = {  # of others, where it is deployed
    "azure_function/birds": {
        *("numpy", "PIL", "onnxruntime", "fastapi", "starlette", "anyio", "pydantic", "pi_heif"),
    },
    "azure_function/function_app.py": {"azure"},
    "app": {
        *("requests", "anywidget"),
        *("voila", "jupyter_server", "tornado", "traitlets"),  # Voila brings the others
    },
    "serve.py": {"requests"},
}
CORE = ["birds", "birds.photo", "birds.classifier", "birds.drawn", "birds.answer", "birds.cpus"]
CORE += ["birds.describe"]


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


@pytest.mark.parametrize("place", MAY_NEED)
def test_what_is_deployed_needs_only_what_its_requirements_install(place):
    for path in files(place):
        others = imports(path) - OURS - set(sys.stdlib_module_names)
        assert others <= MAY_NEED[place], path


@pytest.mark.parametrize("module", CORE)
def test_the_core_loads_without_http_and_torch(module):
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "birds" in loaded
    assert not loaded & {"fastapi", "starlette", "azure", "torch", "fastai", "pandas"}
