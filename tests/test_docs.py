"""What the documents say is so."""

import json
import re

import pytest
from fastapi.testclient import TestClient

from birds import api, drawn, photo
from birds.classifier import Classifier
from birds.http import request_body
from birds.http.schema import BLUE_JAY
from export.exporter import FILES, REPORT
from fieldmark import recipe, record
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
API = (ROOT / "docs/api.md").read_text(encoding="utf-8")
DOCUMENTS = ["README.md", "CHANGELOG.md"]
DOCUMENTS += sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
SKIPPED = {".venv", "runs"}
CODE = ("*.py", "Makefile", "*.ipynb", "Procfile")


def test_every_setting_in_the_code_is_documented_and_the_reverse():
    pattern = re.compile(r"FIELDMARK_[A-Z_]+[A-Z]")
    found = [path for glob in CODE for path in ROOT.rglob(glob)]
    files = [path for path in found if not SKIPPED & set(path.relative_to(ROOT).parts)]
    used = {name for file in files for name in pattern.findall(file.read_text(encoding="utf-8"))}
    assert used == set(pattern.findall(README))


def test_every_make_command_in_the_readme_is_a_target():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b(?=[ `]*(?:#|$|RE|RU|`|\n))", README))
    assert named >= {"app", "test", "train", "export", "publish"}
    assert named <= targets


def test_every_parameter_of_the_notebook_is_explained(monkeypatch):
    monkeypatch.chdir(ROOT)
    text = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_]+)[`:]", text))
    assert set(recipe.defaults()) - {"out"} <= named


def test_every_file_of_a_run_is_explained():
    text = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    for name in (*FILES, *record.FILES, REPORT):
        assert f"`{name}`" in text


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_to_a_file_leads_somewhere(name):
    path = ROOT / name
    links = re.findall(r"\]\((?!http)([^)#]+)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_example_answer_has_the_shape_of_a_real_one(model):
    example = json.loads(re.search(r"```json\n(.*?)```", API, re.DOTALL)[1])
    client = TestClient(api.create_app(model))
    data = drawn.encode_photo(drawn.draw_bird("Green_Inkling"))
    real = client.post("/api/classify?heatmap=true", content=data).json()

    def shape(value):
        if isinstance(value, dict):
            return {key: shape(each) for key, each in value.items()}
        return [shape(value[0])] if isinstance(value, list) else None

    assert shape(example) == shape(real)


def test_every_problem_and_limit_is_documented():
    told = set(re.findall(r"^\| ([\d, ]+) \| `urn:fieldmark:([a-z-]+)`", API, re.MULTILINE))
    source = (ROOT / "azure_function/birds/http/problems.py").read_text(encoding="utf-8")
    raised = set(re.findall(r'\(\s*(\d{3}),\s*"([a-z-]+)"', source))
    assert raised | {("404, 405", "http-error")} == told
    assert f"{photo.MAX_BYTES // 2**20} MiB a body" in API
    assert f"{photo.MAX_PIXELS // 10**6} megapixels a photo" in API
    assert f"up to {request_body.MAX_PHOTOS} photos" in " ".join(API.split())
    assert f"over {request_body.TIMEOUT} seconds" in API
    assert all(name in API.upper() for name in (*photo.FORMATS, "HEIC"))


def test_the_example_in_the_openapi_document_is_of_the_same_shape_as_that_in_the_docs():
    example = json.loads(re.search(r"```json\n(.*?)```", API, re.DOTALL)[1])
    assert BLUE_JAY.keys() == example.keys()
    assert BLUE_JAY["predictions"] == example["predictions"]
    assert BLUE_JAY["answer"] == example["answer"]


def test_the_figures_in_the_readme_are_those_of_the_shipped_card():
    metrics = Classifier(ROOT / "azure_function/model/birds.onnx").card["metrics"]
    for name in ("accuracy", "top_5"):
        low, high = metrics[name]["interval"]
        figure = f"{metrics[name]['value']:.1%} ({low:.1%} to {high:.1%})"
        assert figure.replace("%", " %") in README
