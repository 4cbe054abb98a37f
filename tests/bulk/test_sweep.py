"""`fieldmark sweep` trains each combination once, and `compare` shows the runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fieldmark.data.locations import draw_birds
from fieldmark.errors import RecipeError
from fieldmark.files import sha256_file
from fieldmark.recipe import Recipe
from fieldmark.run import Run
from fieldmark.sweep import list_results, list_trials, rank_settings
from tests.command_line import run_command
from tests.conftest import ARCH, ROOT


def start(*arguments: str) -> subprocess.CompletedProcess:
    """Run `fieldmark` as a process: Ray's own would outlive a command within the tests."""
    paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'azure_function'}"}
    command = [sys.executable, "-m", "commands", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | paths)


@pytest.mark.slow
def test_a_sweep_reports_a_failed_trial_and_runs_only_that_one_again(
    tmp_path, monkeypatch, finder_file
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FIELDMARK_FINDER", str(finder_file))
    values = {"photos": str(draw_birds(tmp_path / "birds", count=12)), "arch": ARCH, "size": 32}
    values |= {"batch_size": 16, "frozen_epochs": 0, "epochs": 1, "weights_dtype": "fp32"}
    Path("tiny.yaml").write_text(yaml.safe_dump(values | {"calibration_share": 0.3}))
    folder = Path("runs/tiny-sweep")
    good, bad = (folder / f"seed-0_rate-{rate}" for rate in (0.001, 1e-05))
    folder.mkdir(parents=True)
    bad.write_text("a file where the run's folder should be")
    command = ("sweep", "tiny.yaml", "--seeds", "0", "--rate", "1e-3,1e-5", "--jobs", "2")
    done = start(*command)
    assert done.returncode == 2
    assert "1 of 2 trials failed" in done.stderr
    assert f"{bad} is a file" in done.stderr
    Run(good).check_complete()
    before = sha256_file(good / "birds.safetensors")
    bad.unlink()
    again = start(*command)
    assert again.returncode == 0, again.stderr
    assert sha256_file(good / "birds.safetensors") == before
    assert Run(bad).recipe["learning_rate"] == 1e-05
    compared = run_command("compare", folder, "--no-speed", "--out", "comparison")
    assert compared.exit_code == 0
    page = Path("comparison/index.md").read_text()
    assert good.name in page
    assert bad.name in page
    assert "Which differences are significant?" in page
    trials = list_trials(Recipe.load(Path("tiny.yaml")), folder, {"seed": [0]})
    assert trials[0].find_run() is None  # another recipe: no rate is in its name
    both = {"seed": [0], "learning_rate": [1e-3, 1e-5]}
    results = list_results(list_trials(Recipe.load(Path("tiny.yaml")), folder, both))
    ranked = rank_settings(results)
    assert ranked["valid_log_loss"].is_monotonic_increasing
    kept = Run(good).history["log_loss"].min()
    assert results["valid_log_loss"][0] == pytest.approx(kept)


def test_trials_are_named_by_what_varies():
    grid = {"seed": [0, 1], "arch": ["resnet18", "resnet18.a1_in1k"]}
    names = [trial.folder.name for trial in list_trials(Recipe(), Path("runs/a-sweep"), grid)]
    assert names[:2] == ["seed-0_arch-resnet18", "seed-0_arch-resnet18.a1_in1k"]
    assert len(set(names)) == 4
    with pytest.raises(RecipeError, match="learning_rate"):
        list_trials(Recipe(), Path("runs/a-sweep"), {"learning_rate": [-1.0]})


def test_a_list_that_holds_no_numbers_is_reported(tmp_path):
    result = run_command("sweep", ROOT / "recipes/quick.yaml", "--seeds", "0,a")
    assert result.exit_code == 2
    assert "--seeds 0,a" in result.stderr
