"""`fieldmark explain` runs explain.ipynb top to bottom for a run of drawn birds."""

import re
import shutil

import nbformat
import pandas as pd
import pytest

from commands.explain import claim_folder, name_results
from fieldmark.errors import RunError
from fieldmark.run import Run
from tests.command_line import run_command
from tests.conftest import ROOT

FIGURES = {  # in the order of the notebook
    *("attribution-right", "attribution-wrong", "removal", "attribution-scores"),
    *("attribution-agreement", "channels", "facets", "logits", "parts", "feature_maps", "barcode"),
    *("mosaic", "overlap", "classifiers", "learning_curves", "gains", "missed_birds"),
    *("label_errors", "near_duplicates", "pair_1", "accuracy_by"),
}
QUICK = {"shown_photos": 1, "scored_photos": 2, "image_steps": 4, "image_size": 48, "pairs": 1}


@pytest.fixture(scope="module")
def out(tmp_path_factory, run, folder, weights, finder_file):
    """Run the command, with few photos and steps, and return its folder."""
    out = tmp_path_factory.mktemp("explain")
    settings = QUICK | {"photos": folder, "weights": weights, "repeats": 1, "folds": 3}
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'azure_function'}")
        patch.setenv("FIELDMARK_FINDER", str(finder_file))
        patch.chdir(out)
        result = run_command("explain", run, "--out", out, *words)
    assert result.exit_code == 0, result.stderr
    return out


@pytest.mark.slow
def test_every_cell_runs_and_every_figure_and_table_is_kept(out, explained):
    notebook = nbformat.read(out / "explain.ipynb", 4)
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
    assert {file.stem for file in (out / "figures").iterdir()} >= FIGURES
    decided = pd.read_csv(out / "to_decide.csv", keep_default_na=False)
    assert set(decided["path"]) <= set(explained.photos["path"])
    assert set(decided["decision"]) == {""}


@pytest.mark.slow
def test_the_page_shows_the_figures_and_loads_nothing_else(out):
    page = (out / "explain.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") >= len(FIGURES)
    loaded = re.findall(r'<(?:script|img|link|iframe)[^>]+(?:src|href)="(http[^"]+)"', page)
    assert loaded == []


def test_a_folder_of_results_belongs_to_one_run(tmp_path, run):
    one, other = (tmp_path / name / "model" for name in ("one", "other"))
    for copy in (one, other):
        copy.mkdir(parents=True)
        shutil.copy(run / "birds.safetensors", copy)
    assert name_results(Run(one)) == "tiny"
    assert name_results(Run(run)) == run.name
    out = tmp_path / "out"
    claim_folder(out, Run(one))
    (out / "run.txt").write_text((out / "run.txt").read_text().replace("tiny", "retrained"))
    claim_folder(out, Run(one / ".." / "model"))
    assert (out / "run.txt").read_text().split("\n")[1].startswith("tiny ")
    with pytest.raises(RunError, match=r"one.*Set --out to another folder"):
        claim_folder(out, Run(other))


def test_wrong_requests_are_reported(tmp_path, run, folder, weights):
    missing = run_command("explain", tmp_path / "none")
    assert missing.exit_code == 2
    assert "does not exist" in missing.stderr
    unknown = run_command("explain", run, "--out", tmp_path, "--set", "scored_photo=3")
    assert unknown.exit_code == 2
    assert "Did you mean scored_photos" in unknown.stderr
    photos = ("--set", f"photos={folder}", "--set", f"weights={weights}")
    for key, reason in (("unlabelled", "no folder nowhere"), ("facts", "nowhere does not exist")):
        result = run_command("explain", run, "--out", tmp_path, *photos, "--set", f"{key}=nowhere")
        assert result.exit_code == 2
        assert reason in result.stderr
    learned = run / "birds.safetensors"
    result = run_command("explain", run, *photos[:2], "--set", f"weights={learned}")
    assert "saw the labels" in result.stderr
