"""Imports point down only, and light modules stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

APP = {path.stem for path in (ROOT / "app").glob("*.py")}
PACKAGES = (
    "data",
    "network",
    "evaluation",
    "finder",
    "training",
    "explain",
)  # of fieldmark, lowest first
BASE = {"birds", "fieldmark.recipe"}  # what every package of fieldmark may import
BASE |= {f"fieldmark.{path.stem}" for path in (ROOT / "fieldmark").glob("*.py")}
LAYERS = {  # files -> the modules of this repository that they may import
    "azure_function/birds/**/*.py": {"birds"},
    "azure_function/function_app.py": {"birds"},
    "app/*.py": APP,
    "fieldmark/*.py": BASE,
    "fieldmark/recipe/*.py": BASE,
    **{
        f"fieldmark/{package}/**/*.py": BASE | {f"fieldmark.{lower}" for lower in PACKAGES[:number]}
        for number, package in enumerate(PACKAGES, 1)
    },
    "fieldmark/bulk/**/*.py": BASE | {"fieldmark.bulk"},
    "export/**/*.py": {"birds", "fieldmark", "export"},
    "export/triton/python_backend/*.py": {"birds"},  # Triton runs copies of them, without the rest
    "commands/**/*.py": {"birds", "fieldmark", "export", "commands"},
}
OURS = {"birds", "fieldmark", "export", "commands", "tests", "benchmarks", "function_app"} | APP
DEPLOYED = {  # files -> packages that their requirements.txt installs
    "azure_function/birds/**/*.py": {
        *(
            "numpy",
            "PIL",
            "onnxruntime",
            "fastapi",
            "starlette",
            "anyio",
            "pydantic",
            "pi_heif",
            "pebble",
            "python_multipart",
            "httpcore2",
        ),
    },
    "azure_function/birds/server/*.py": {"uvicorn"},  # and those above: not on Azure
    "azure_function/function_app.py": {"azure"},
    "app/*.py": {
        *("requests", "anywidget"),
        *(
            "voila",
            "jupyter_server",
            "tornado",
            "traitlets",
            "pythonjsonlogger",
        ),  # installed by Voila
    },
}
LIGHT = {  # modules or packages -> what they must not load, directly or through others
    ("birds.photo", "birds.classifier", "birds.identifier", "birds.describe"): {
        *("fastapi", "starlette", "azure", "torch", "fastai", "pandas"),
    },
    ("fieldmark.taxonomy",): {"torch", "fastai", "timm", "pandas"},
    ("fieldmark.errors", "fieldmark.files", "fieldmark.recipe", "fieldmark.run"): {
        *("torch", "fastai", "timm"),
    },
    ("fieldmark.network", "fieldmark.evaluation", "export"): {"fastai"},
    ("export.triton.repository",): {"torch", "fastai", "timm"},
    ("commands.main",): {"torch", "fastai", "timm", "onnxruntime", "pandas"},
}


def module_name(path: Path) -> str:
    relative = path.relative_to(ROOT).with_suffix("").as_posix()
    return relative.removeprefix("azure_function/").removesuffix("/__init__").replace("/", ".")


def imported_modules(path: Path) -> set[str]:
    """Return the absolute names of all that a file imports, inside functions too."""
    modules, package = set(), module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*parents, *([node.module] if node.module else [])])
            modules |= {f"{module}.{alias.name}" for alias in node.names}
    return modules


@pytest.mark.parametrize("files", LAYERS)
def test_imports_point_down_only(files):
    paths = list(ROOT.glob(files))
    assert paths
    for path in paths:
        modules = {m for m in imported_modules(path) if m.split(".")[0] in OURS}
        allowed = tuple(f"{name}." for name in LAYERS[files])
        wrong = sorted(module for module in modules if not f"{module}.".startswith(allowed))
        assert not wrong, f"{path.relative_to(ROOT)} imports {', '.join(wrong)}"


@pytest.mark.parametrize("files", DEPLOYED)
def test_deployed_code_imports_only_what_its_requirements_install(files):
    inner = {path for each in DEPLOYED if each != files for path in ROOT.glob(each)}
    for path in set(ROOT.glob(files)) - (inner if "**" in files else set()):
        packages = {module.split(".")[0] for module in imported_modules(path)}
        others = packages - OURS - set(sys.stdlib_module_names)
        assert others <= DEPLOYED[files], path


def modules_of(name: str) -> list[str]:
    """Return a module, or all modules of a package."""
    folder = ROOT / name.replace(".", "/")
    paths = set(folder.rglob("*.py")) - set(ROOT.glob("export/triton/python_backend/*.py"))
    return [module_name(path) for path in sorted(paths)] or [name]


@pytest.mark.parametrize("names", LIGHT, ids=", ".join)
def test_light_modules_do_not_load_heavy_packages(names):
    modules = ", ".join(module for name in names for module in modules_of(name))
    code = f"import sys, {modules}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    heavy = LIGHT[names] & set(done.stdout.split())
    assert not heavy
