"""A run keeps its history, answers and surroundings, and nothing of whose machine it was."""

import getpass
import json
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from training import judge, record
from training.learner import rates


@pytest.fixture
def trained(new_learner):
    """Train for two epochs at a rate a stage, keeping the rates."""
    learn = new_learner()
    learn.unfreeze()
    learn.add_cb(record.KeepRates())
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(2, np.array(rates(learn, 0.01, 0.5)))
    return learn


def test_history_has_a_row_an_epoch_as_the_learner_validates(trained):
    history = record.history(trained, "fine-tuning")
    assert history["epoch"].tolist() == [1, 2]
    assert history["stage"].tolist() == ["fine-tuning"] * 2
    loss, accuracy, top_5 = trained.validate()
    last = history.iloc[-1]
    assert [last["valid_loss"], last["accuracy"], last["top_5"]] == pytest.approx(
        [loss, accuracy, top_5], abs=1e-5
    )


def test_the_rate_of_every_group_is_kept_and_judging_adds_none(trained, table):
    kept = np.array(trained.keep_rates.kept)
    assert kept.shape == (2 * len(trained.dls.train), len(trained.opt.hypers))
    assert kept[:, -1].tolist() == trained.recorder.lrs
    assert kept[:, 1:] == pytest.approx(2 * kept[:, :-1])
    judge.answers(trained, table, "tune")
    assert len(trained.keep_rates.kept) == len(kept)


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


def test_the_run_holds_what_was_measured(trained, table, tmp_path):
    history = record.history(trained, "all")
    answers = judge.answers(trained, table, "calibrate")
    taught = table[table["split"] == "train"]["label"].value_counts()
    metrics = judge.metrics(answers)
    record.write(tmp_path, history, answers, metrics, judge.per_class(answers, taught))
    files = ["answers.csv", "environment.json", "history.csv", "metrics.json", "per_class.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == files
    assert json.loads((tmp_path / "metrics.json").read_text())["accuracy"] == metrics["accuracy"]
    read = pd.read_csv(tmp_path / "answers.csv")
    right = (read["label"] == read["answer"]).mean()
    assert right == pytest.approx(metrics["accuracy"]["value"], abs=1e-4)
