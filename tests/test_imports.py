"""Imports point down only, between the top-level packages and between those of `fieldmark`."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

APP = {path.stem for path in (ROOT / "app").glob("*.py")}
BASE = {"errors", "files", "statistics", "recipe", "run", "run_folder", "environment", "plotting"}
LAYERS = {  # a package -> what it may import of this repository
    "azure_function/birds": {"birds"},
    "azure_function/function_app.py": {"birds"},
    "app": APP,
    "fieldmark/errors.py": {"birds"},
    "fieldmark/files.py": set(),
    "fieldmark/statistics.py": set(),
    "fieldmark/plotting.py": {"fieldmark.files"},
    "fieldmark/data": {"birds", "fieldmark.data"},
    "fieldmark/network": {"birds", "fieldmark.data", "fieldmark.network"},
    "fieldmark/evaluation": {
        "birds",
        *("fieldmark.data", "fieldmark.network", "fieldmark.evaluation"),
    },
    "fieldmark/training": {
        "birds",
        *("fieldmark.data", "fieldmark.network", "fieldmark.evaluation", "fieldmark.training"),
    },
    "fieldmark": {"birds", "fieldmark"},
    "export": {"birds", "fieldmark", "export"},
    "commands": {"birds", "fieldmark", "export", "commands"},
}
DEPLOYED = {  # what requirements.txt installs where the code is deployed
    "azure_function/birds": {
        *("numpy", "PIL", "onnxruntime", "fastapi", "starlette", "anyio", "pydantic", "pi_heif"),
    },
    "azure_function/function_app.py": {"azure"},
    "app": {
        *("requests", "anywidget"),
        *("voila", "jupyter_server", "tornado", "traitlets"),  # Voila installs the others
    },
}
LIGHT = {  # a module -> packages that it must not load, directly or through others
    "birds.photo": {"fastapi", "starlette", "azure", "torch", "fastai", "pandas"},
    "birds.classifier": {"fastapi", "starlette", "azure", "torch", "fastai", "pandas"},
    "birds.batch": {"fastapi", "starlette", "azure", "torch", "fastai", "pandas"},
    "birds.describe": {"fastapi", "starlette", "azure", "torch", "fastai", "pandas"},
    "fieldmark.errors": {"torch", "fastai", "timm"},
    "fieldmark.files": {"torch", "fastai", "timm"},
    "commands.main": {"torch", "fastai", "timm", "onnxruntime", "pandas"},
    "fieldmark.network.network": {"fastai"},
    "fieldmark.evaluation": {"fastai"},
    "export": {"fastai"},
}
OURS = {"birds", "fieldmark", "export", "commands", "tests", "benchmarks", "function_app"} | APP


def python_files(place: str) -> list[Path]:
    path = ROOT / place
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def module_name(path: Path) -> str:
    relative = path.relative_to(ROOT).with_suffix("").as_posix()
    relative = relative.removeprefix("azure_function/").removesuffix("/__init__")
    return relative.replace("/", ".")


def imported_modules(path: Path) -> set[str]:
    """Return every module that a file imports, inside functions too, by absolute name."""
    found, package = set(), module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def is_allowed(module: str, allowed: set[str], base: bool) -> bool:
    parts = module.split(".")
    if parts[0] not in OURS or module == "fieldmark":
        return True
    if base and parts[0] == "fieldmark" and parts[1] in BASE:
        return True
    return any(f"{module}.".startswith(f"{each}.") for each in allowed)


@pytest.mark.parametrize("place", LAYERS)
def test_imports_point_down_only(place):
    assert python_files(place)
    base = place.startswith("fieldmark/") and not place.endswith(".py")
    for path in python_files(place):
        wrong = {m for m in imported_modules(path) if not is_allowed(m, LAYERS[place], base)}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


@pytest.mark.parametrize("place", DEPLOYED)
def test_deployed_code_imports_only_what_its_requirements_install(place):
    for path in python_files(place):
        names = {module.split(".")[0] for module in imported_modules(path)}
        others = names - OURS - set(sys.stdlib_module_names)
        assert others <= DEPLOYED[place], path


def modules_of(name: str) -> list[str]:
    """Return a module, or every module of a package."""
    folder = ROOT / name.replace(".", "/")
    return [module_name(path) for path in sorted(folder.rglob("*.py"))] or [name]


@pytest.mark.parametrize("name", LIGHT)
def test_light_modules_do_not_load_heavy_packages(name):
    code = "import importlib, sys\n"
    code += "".join(f"importlib.import_module({each!r})\n" for each in modules_of(name))
    code += "print(*{each.split('.')[0] for each in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout.split()) & LIGHT[name]
