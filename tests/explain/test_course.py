"""The lessons of the course run on drawn birds, and what they say is so."""

import re
import shutil
import warnings

import nbformat
import papermill
import pytest

from birds.classifier import Classifier
from fieldmark.data.datasets import list_photos
from fieldmark.data.locations import draw_birds
from fieldmark.data.splits import split_photos
from tests.conftest import ROOT, train_run

COURSE = ROOT / "docs/course.md"
LESSONS = ["course/1-prepare", "train", "explain", "course/4-serve", "course/5-correct"]


def read_cells(lesson: str) -> list:
    return nbformat.read(ROOT / f"{lesson}.ipynb", 4).cells


def links_of(text: str) -> list[str]:
    return re.findall(r"\]\((?!http)([^)#]+)", text)


def read_text(output) -> str:
    """Return what a cell shows as text, a table with its cells separated by spaces."""
    if "text" in output:
        return output.text
    table = output.data.get("text/html", "").replace("\n", "").replace("</tr>", "\n")
    rows = [" ".join(re.sub("<[^>]+>", " ", row).split()) for row in table.splitlines()]
    return "\n".join(rows) if rows else output.data["text/plain"]


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Return a function that executes a lesson in a folder of its own; it returns what it shows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'azure_function'}")

    def run(lesson: str, **parameters) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of papermill and of the kernel's sockets
            notebook = papermill.execute_notebook(
                str(ROOT / f"{lesson}.ipynb"), None, parameters, cwd=tmp_path, progress_bar=False
            )
        outputs = [each for cell in notebook.cells for each in cell.get("outputs", [])]
        return "\n".join(map(read_text, outputs))

    return run


def test_the_lessons_lead_from_one_to_the_next():
    assert [link for link in links_of(COURSE.read_text(encoding="utf-8")) if "ipynb" in link] == [
        *(f"../{lesson}.ipynb" for lesson in LESSONS),
        "../finder.ipynb",
    ]
    for number, lesson in enumerate(LESSONS):
        cells = [cell.source for cell in read_cells(lesson) if cell.cell_type == "markdown"]
        folder = (ROOT / lesson).parent
        targets = [(folder / link).resolve() for cell in cells for link in links_of(cell)]
        assert [str(target) for target in targets if not target.exists()] == []
        neighbours = LESSONS[max(number - 1, 0) : number] + LESSONS[number + 1 : number + 2]
        first = {(folder / link).resolve() for link in links_of(cells[0])}
        assert {COURSE, *(ROOT / f"{name}.ipynb" for name in neighbours)} <= first
        for name in LESSONS[number + 1 : number + 2]:
            last = [(folder / link).resolve() for link in links_of(cells[-1])]
            assert ROOT / f"{name}.ipynb" in last


@pytest.mark.slow
def test_the_first_lesson_finds_what_it_planted(execute):
    shown = execute("course/1-prepare")
    problems = {
        "Night_Inkling/003.jpg": "left out",
        "Night_Inkling/IMG_0004.jpg": "a copy of Night_Inkling/004.jpg",
        "Rusty_Inkling/IMG_0005.jpg": "copies of this file have different labels",
        "Rusty_Inkling/edited.jpg": "nearly a copy of Rusty_Inkling/006.jpg",
        "Rusty_Inkling/notes.txt": "not photos",
    }
    for path, problem in problems.items():
        assert re.search(f"{path} .*{problem}", shown), path
    assert re.search("Train/test leak: 1 photos", shown)
    memory, honest = (int(share) for share in re.findall(r"copies .*: (\d+)% right", shown))
    assert memory > 60
    assert honest < 30  # one in six, within the noise of 239 photos
    assert "not found: its patterns moved" in shown
    assert re.search(r"\d+ photos moved; with `previous`, 0", shown)


@pytest.fixture(scope="module")
def served(tmp_path_factory, weights, settings):
    """Return a run with thresholds: of 40 photos a species, as `make train` has."""
    folder = draw_birds(tmp_path_factory.mktemp("birds"))
    table = split_photos(list_photos(folder), 0.15, 0.25, seed=0)
    out = tmp_path_factory.mktemp("run")
    return train_run(
        out, table, folder, settings, weights, batch_size=16, epochs=4, ood_score="knn"
    )


@pytest.mark.slow
def test_the_fourth_lesson_asks_the_function_and_counts_its_promise(execute, served):
    shown = execute("course/4-serve", run=str(served))
    assert "torch is loaded: False" in shown
    assert "'status': 'ready'" in shown
    assert '"predictions": [' in shown
    for status, problem in ((415, "not-a-photo"), (422, "damaged-photo"), (422, "invalid-query")):
        assert f"-> {status} urn:fieldmark:{problem}" in shown
    sets = {
        name: [float(cell) for cell in re.search(rf"^{name} ([\d. ]+)$", shown, re.M)[1].split()]
        for name in ("a rule of 150 photos", "far away", "far away, a rule of its own")
    }
    assert sets["a rule of 150 photos"][1] > 0.9  # 95 %, within the noise of 150 photos
    assert sets["far away"][1] < sets["far away, a rule of its own"][1]
    refused = dict(re.findall(r"^(known|invented|noise) ([\d.]+)$", shown, re.M))
    assert refused.keys() == {"known", "invented", "noise"}
    assert float(refused["known"]) < 0.2  # the rule of 150 photos refuses 5 % of known birds
    assert "50 photos: None" in shown
    assert '"status": 200' in shown


@pytest.mark.slow
def test_the_fifth_lesson_corrects_labels_and_measures_the_gain(execute, finder_file, monkeypatch):
    monkeypatch.setenv("FIELDMARK_FINDER", str(finder_file))  # quick, whatever is published
    shutil.copytree(ROOT / "recipes", "recipes")
    shown = execute("course/5-correct")
    corrected, wrong = map(int, re.search(r"(\d+) of (\d+) wrong labels are", shown).groups())
    assert wrong == 30
    assert corrected > 12  # six, if 50 photos were taken by chance
    low = float(re.search(r"falls by \S+ on average, \[(\S+),", shown)[1])
    assert low > 0
    assert re.search(r"p = \S+ \(McNemar\)", shown)
    assert "'birds.onnx'" in shown
    card = Classifier("runs/course/5-correct/published/birds.onnx").card
    assert card["recipe"]["label_decisions"].endswith("decisions.csv")
