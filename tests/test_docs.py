"""What the documents say is so."""

import json
import re

import pytest
from fastapi.testclient import TestClient

from benchmarks import results
from birds import api, drawn, photo
from birds.classifier import Classifier
from birds.http import body_buffer, request_body
from birds.http.schema import BLUE_JAY
from birds.server import connection
from birds.workers import decoder
from commands import main
from fieldmark.run import Run
from tests.conftest import ROOT
from tests.finders import TWO_BIRDS, draw_scene

README = (ROOT / "README.md").read_text(encoding="utf-8")
BENCHMARKS = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
API = (ROOT / "docs/api.md").read_text(encoding="utf-8")
DOCUMENTS = [path.name for path in sorted(ROOT.glob("*.md"))]
COMMANDS_IN = ["README.md", "CONTRIBUTING.md", "docs/benchmarks.md"]
PYTHON_PATH = (".", "azure_function", "app")
DOCUMENTS += sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
SKIPPED = {".venv", "runs"}
SHIPPED = {  # a key of the card's metrics -> its row in docs/results/model.json
    "accuracy": "first prediction right (top-1)",
    "top_5": "right species among the first five (top-5)",
    "coverage": "prediction sets that contain the species",
}
CODE = ("*.py", "Makefile", "*.ipynb", "Procfile")


def test_every_setting_in_the_code_is_documented_and_the_reverse():
    pattern = re.compile(r"FIELDMARK_[A-Z_]+[A-Z]")
    found = [path for glob in CODE for path in ROOT.rglob(glob)]
    files = [path for path in found if not SKIPPED & set(path.relative_to(ROOT).parts)]
    used = {name for file in files for name in pattern.findall(file.read_text(encoding="utf-8"))}
    assert used == set(pattern.findall(README))


def commands_in(text: str, pattern: str) -> set[str]:
    """Return what follows a command in the code of a Markdown document."""
    code = re.findall(r"```sh\n(.*?)```", text, re.DOTALL) + re.findall(r"`([^`\n]+)`", text)
    return {name for snippet in code for name in re.findall(pattern, snippet)}


@pytest.mark.parametrize("name", COMMANDS_IN)
def test_every_command_in_a_document_exists(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert commands_in(text, r"\bmake ([a-z]+)\b") <= targets
    names = {command.__name__ for command in main.COMMANDS}
    assert commands_in(text, r"\bfieldmark ([a-z]+)\b") <= names
    for module in commands_in(text, r"python -m ([a-z_]+(?:\.[a-z_]+)*)") - {"pip"}:
        files = [ROOT / place / f"{module.replace('.', '/')}.py" for place in PYTHON_PATH]
        assert any(file.is_file() for file in files), module


def test_the_readme_is_short():
    assert len(README.split("## Settings")[0].split()) <= 900


def test_the_tables_of_the_benchmarks_are_the_committed_results():
    assert results.fill_blocks(BENCHMARKS, results.load_results()) == BENCHMARKS
    for name, result in results.load_results().items():
        assert f"<!-- result {name} -->" in BENCHMARKS
        assert {"command", "machine", "date", "columns", "rows"} == result.keys()


def test_every_figure_of_the_readme_is_a_committed_result():
    tables = [result["rows"] for result in results.load_results().values()]
    cells = " ".join(cell for rows in tables for row in rows for cell in row)
    measured = set(re.findall(r"\d[\d,.]*\d|\d", cells))
    story = README.split("## Settings")[0]
    figures = re.findall(r"(\d[\d,.]*) (?!% interval)(?:%|MB|ms|seconds|minutes)", story)
    assert figures
    assert set(figures) <= measured
    lines = [line for line in story.splitlines() if re.search(r"\| \d.* \| \d+ \|$", line)]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert rows
    assert all(any(row in table for table in tables) for row in rows)


def test_the_published_figures_are_those_of_the_shipped_card():
    path = ROOT / "azure_function/model/birds.onnx"
    metrics = Classifier(path).card["metrics"]
    rows = {row[0]: row[1] for row in results.load_results()["model"]["rows"]}
    for key, name in SHIPPED.items():
        values = (metrics[key]["value"], *metrics[key]["interval"])
        value, low, high = (f"{number:.1%}".replace("%", " %") for number in values)
        assert rows[name] == f"{value} ({low} to {high})"
    assert rows["megabytes"] == f"{path.stat().st_size / 1e6:.1f}"


def test_every_file_of_a_run_is_explained():
    text = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    run = Run("")
    for file in (*run.model_files, *run.result_files):
        assert f"`{file.name}`" in text


def test_the_security_policy_names_modules_and_settings_that_exist():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    files = re.findall(r"`([\w./-]+\.(?:py|js|ya?ml|txt))`|`(Dockerfile)`", text)
    names = {name for pair in files for name in pair if name}
    places = (ROOT, ROOT / "azure_function")
    assert [name for name in names if not any((p / name).is_file() for p in places)] == []
    assert len(names) > 10
    assert set(re.findall(r"FIELDMARK_[A-Z_]+", text)) <= set(
        re.findall(r"FIELDMARK_[A-Z_]+", README)
    )


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_to_a_file_leads_somewhere(name):
    path = ROOT / name
    links = re.findall(r"\]\((?!http)([^)#]+)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_example_answer_has_the_shape_of_a_real_one(model, finder_file):
    example = json.loads(re.search(r"```json\n(.*?)```", API, re.DOTALL)[1])
    client = TestClient(api.create_app(model, finder=finder_file))
    data = drawn.encode_photo(draw_scene(TWO_BIRDS))
    real = client.post("/api/classify?heatmap=true&birds=all", content=data).json()

    def shape(value):
        if isinstance(value, dict):
            return {key: shape(each) for key, each in value.items()}
        return [shape(value[0])] if isinstance(value, list) else None

    assert shape(example) == shape(real)


def test_every_problem_and_limit_is_documented():
    rows = re.findall(r"^\| ([\d, ]+) \| `urn:fieldmark:([a-z-]+)`", API, re.MULTILINE)
    files = (ROOT / "azure_function/birds/http").glob("*.py")
    source = "\n".join(file.read_text(encoding="utf-8") for file in files)
    raised = set(re.findall(r'\(\s*(\d{3}),\s*"([a-z-]+)"', source))
    assert raised | {("404, 405", "http-error")} == set(rows)
    assert f"{photo.MAX_BYTES // 2**20} MiB a body" in API
    assert f"{photo.MAX_PIXELS // 10**6} megapixels a photo" in API
    assert f"up to {request_body.MAX_PHOTOS} photos" in " ".join(API.split())
    assert f"over {body_buffer.TIMEOUT} seconds" in API
    assert f"less than {body_buffer.MIN_RATE // 2**10} KiB a second" in API
    assert f"{body_buffer.CAPACITY // 2**20} MiB of memory" in API
    assert f"or the headers over {connection.HEAD_TIMEOUT}" in API
    assert f"headers exceed {connection.MAX_HEAD // 2**10} KiB" in API
    assert all(name in API.upper() for name in (*photo.FORMATS, "HEIC"))
    limits = decoder.DEFAULT_LIMITS
    assert f"{limits.cpu:g} seconds of CPU time, {limits.wall:g} seconds in all" in API
    assert f"{decoder.MEMORY // 2**20} MiB of" in API
    assert f"with {limits.memory // 2**20} MiB" in API


def test_the_limits_of_a_connection_are_documented():
    limits = (ROOT / "docs/deploy.md").read_text(encoding="utf-8").split("## Elsewhere")[1]
    for row in (
        f"trailers | {connection.MAX_HEAD // 2**10} KiB |",
        f"response | {connection.HEAD_TIMEOUT} s |",
        f"connections | {connection.MAX_CONNECTIONS:,} |",
        f"read a response | {connection.SEND_TIMEOUT} s",
        f"such as 503 | {connection.REST_TIMEOUT} s |",
    ):
        assert row in limits


def test_the_example_in_the_openapi_document_is_of_the_same_shape_as_that_in_the_docs():
    example = json.loads(re.search(r"```json\n(.*?)```", API, re.DOTALL)[1])
    assert BLUE_JAY.keys() == example.keys()
    assert BLUE_JAY["predictions"] == example["predictions"]
    assert BLUE_JAY["answer"] == example["answer"]
