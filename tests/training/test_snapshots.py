"""Warm restarts save the weights at the end of each cycle, for ensembles."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fieldmark.run import Run
from fieldmark.training.fit import falls, fit
from fieldmark.training.snapshots import FOLDER
from tests.training.test_fit import PowerCut


def test_warm_restarts_leave_a_snapshot_wherever_the_rate_came_down(new_learner, table, tmp_path):
    learn = new_learner()
    run = Run(tmp_path).begin({}, table)
    with learn.no_bar(), learn.no_logging():
        found = fit(learn, run, "fine", 3, 0.01, schedule="warm_restarts", restarts=2)
    assert sorted(path.name for path in run.snapshots.iterdir()) == [
        "1.safetensors",
        "2.safetensors",
    ]
    steps = len(found.rates)
    ends = np.rint(falls(2) * steps).astype(int)
    assert ends.tolist() == [steps // 3, steps]
    assert (found.rates[ends - 1] < 0.1 * found.rates.max(0)).all()
    last = load_file(run.snapshots / "2.safetensors")
    assert all(torch.equal(value, last[name]) for name, value in learn.model.state_dict().items())


def test_a_stopped_run_leaves_the_same_snapshots_and_another_recipe_takes_them_away(
    new_learner, table, tmp_path
):
    def fitted(out, **options):
        learn = new_learner()
        with learn.no_bar(), learn.no_logging():
            run = Run(out).begin({}, table)
            fit(learn, run, "fine", 4, 0.01, schedule="warm_restarts", restarts=2, **options)

    fitted(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path / "stopped", cbs=[PowerCut(2)])
    fitted(tmp_path / "stopped")
    for name in ("1.safetensors", "2.safetensors"):
        one, other = (load_file(tmp_path / run / FOLDER / name) for run in ("whole", "stopped"))
        assert all(torch.equal(value, other[key]) for key, value in one.items())
    run = Run(tmp_path / "stopped").begin({"seed": 2}, table)
    assert not list(run.snapshots.iterdir())
