"""A run keeps its history, answers and surroundings, and nothing of whose machine it was."""

import getpass
import json
import platform
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest

from fieldmark import record
from fieldmark.evaluation import metrics as judge


def test_the_environment_names_versions_and_not_whose_machine_it_is():
    found = record.environment()
    assert found["packages"]["torch"] == version("torch")
    assert found["python"] == platform.python_version()
    told = json.dumps({key: value for key, value in found.items() if key != "packages"})
    for private in (platform.node(), getpass.getuser(), str(Path.home()), str(Path.cwd())):
        assert private not in told.split('"')
        assert f"{private}/" not in told


def test_without_git_there_is_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert record.commit() is None


def test_the_run_holds_what_was_measured(new_learner, table, tmp_path):
    history = pd.DataFrame({"stage": ["fine"], "epoch": [1], "accuracy": [0.5]})
    answers = judge.answers(new_learner(), table, "calibration")
    taught = table[table["split"] == "train"]["label"].value_counts()
    metrics = judge.metrics(answers)
    record.write(tmp_path, history, answers, metrics, judge.per_class(answers, taught))
    later = {"card.json", "cost.json"}
    assert {path.name for path in tmp_path.iterdir()} == {*record.FILES} - later
    assert json.loads((tmp_path / "metrics.json").read_text())["accuracy"] == metrics["accuracy"]
    read = pd.read_csv(tmp_path / "answers.csv")
    right = (read["label"] == read["answer"]).mean()
    assert right == pytest.approx(metrics["accuracy"]["value"], abs=1e-4)
