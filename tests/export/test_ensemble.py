"""Several networks become one file: the mean of their answers or weights, through the same gate."""

import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from fastai.vision.all import Learner
from safetensors.torch import load_file

from birds import drawn
from birds.classifier import Classifier
from export.exporter import export_model
from export.graph import Graph
from fieldmark.errors import NetworkError
from fieldmark.network.ensemble import average_weights, join_networks
from fieldmark.network.preparation import Preparation
from fieldmark.run import Run
from fieldmark.training.fit import falls, fit
from fieldmark.training.snapshots import FOLDER
from tests.command_line import run_command
from tests.conftest import ARCH, FACTS, SIZE
from tests.network.test_backbone import birds
from tests.training.test_fit import PowerCut

pytestmark = pytest.mark.slow


def taught(new_learner, arch=ARCH, epochs=1, **options) -> Learner:
    """Return a Learner that has learned a little."""
    weights = {} if arch == ARCH else {"start": "random"}
    learn = new_learner(arch=arch, **weights, **options)
    with learn.no_bar(), learn.no_logging():
        learn.fit(epochs, 5e-3)
    learn.model.eval()
    return learn


@pytest.fixture
def published(table, folder, tmp_path, monkeypatch):
    """Return a function that publishes a Learner's model as a run, with its photos in reach."""
    monkeypatch.setenv("FIELDMARK_PHOTOS", str(folder))

    def write(learn, name, photos=table, arch=ARCH, size=SIZE, **recipe):
        facts = FACTS | {"name": name, "architecture": arch}
        facts["recipe"] = FACTS["recipe"] | {"arch": arch} | recipe
        export_model(learn.network, photos, folder, facts, tmp_path / name)
        return tmp_path / name

    return write


@pytest.mark.parametrize("second", [ARCH, "test_resnet", "test_vit"])
def test_joined_networks_answer_by_the_mean_of_their_logits(new_learner, second):
    learners = [taught(new_learner), taught(new_learner, second, 2)]
    networks = [learn.network for learn in learners]
    networks[1].preparation = replace(networks[1].preparation, mean=(0.4,) * 3, std=(0.3,) * 3)
    whole = join_networks(networks, [0.5, 2.0])
    pixels = np.stack([drawn.draw_bird(name, 1, SIZE, SIZE) for name in drawn.SPECIES])
    first, other = (network.forward_pixels(pixels)[0] for network in networks)
    assert torch.allclose(whole.forward_pixels(pixels)[0], (first / 0.5 + other / 2) / 2, atol=1e-4)
    sizes = [network.backbone.map_size for network in (whole, networks[0])]
    assert sizes[0] == (None if second == "test_vit" else sizes[1])


def test_the_map_of_joined_networks_explains_their_answer(new_learner):
    learners = [taught(new_learner), taught(new_learner, "test_resnet")]
    whole = join_networks([learn.network for learn in learners], [1.0, 1.0])
    graph = Graph(whole).eval()
    with torch.no_grad():
        maps, logits = whole.backbone(birds(SIZE)), whole.model(birds(SIZE))
        by_place = torch.einsum("ndhw,cd->nchw", maps, graph.outputs.class_weight)
    assert torch.allclose(by_place.mean((2, 3)) + graph.outputs.class_bias, logits, atol=1e-4)


def test_the_mean_of_weights_is_a_network_of_the_same_size(new_learner):
    networks = [taught(new_learner).network, taught(new_learner, epochs=2).network]
    first, second = (
        {k: v.clone() for k, v in network.model.state_dict().items()} for network in networks
    )
    found = average_weights(networks).model.state_dict()
    floats = [name for name, value in first.items() if value.is_floating_point()]
    assert any(not torch.equal(first[name], second[name]) for name in floats)
    for name in floats:
        assert torch.allclose(found[name], (first[name] + second[name]) / 2, atol=1e-6)


def test_two_runs_become_one_file_through_the_gate(new_learner, published, tmp_path):
    one = published(taught(new_learner), "one")
    two = published(taught(new_learner, "test_convnext"), "two", arch="test_convnext")
    result = run_command("ensemble", one, two, "--out", tmp_path / "both")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "passed the gate" in result.stdout
    singles = [Classifier(run / "birds.onnx") for run in (one, two)]
    both = Classifier(tmp_path / "both" / "birds.onnx")
    photos = np.stack([drawn.draw_bird("Night_Inkling", seed, SIZE, SIZE) for seed in range(3)])
    logs = [np.log(single.predict(photos).probability) for single in singles]
    sharpened = np.exp(np.mean(logs, 0) / both.card["temperature"])
    expected = sharpened / sharpened.sum(1, keepdims=True)
    assert both.predict(photos).probability == pytest.approx(expected, abs=0.02)
    assert both.predict(photos).heatmap.any()
    assert both.card["architecture"] == f"{ARCH} + test_convnext"
    versions = [single.card["version"] for single in singles]
    assert [each["version"] for each in both.card["ensemble"]["members"]] == versions
    whole = Run(tmp_path / "both")
    whole.check_complete()
    assert len(whole.history) == 0
    assert whole.members == ["one", "two"]
    result = run_command("ensemble", one, tmp_path / "both")
    assert result.exit_code == 2
    assert "an ensemble itself" in result.stderr
    # the file is made again of weights and split, as any run's
    shutil.copytree(tmp_path / "both", tmp_path / "again")
    (tmp_path / "again" / "birds.onnx").unlink()
    assert run_command("export", tmp_path / "again").exit_code == 0
    again = Classifier(tmp_path / "again" / "birds.onnx")
    assert again.predict(photos).probability == pytest.approx(
        both.predict(photos).probability, abs=1e-5
    )
    assert again.card["ensemble"] == both.card["ensemble"]
    result = run_command("export", tmp_path / "again", "--weights-dtype", "int8")
    assert result.exit_code == 2
    assert "8 bits" in result.stderr


def test_weights_of_one_architecture_are_averaged_and_of_two_refused(
    new_learner, published, tmp_path
):
    one = published(taught(new_learner), "one")
    two = published(taught(new_learner, epochs=2), "two")
    out = ["--method", "weights", "--out", tmp_path / "soup"]
    assert run_command("ensemble", one, two, *out).exit_code == 0
    sizes = [(run / "birds.safetensors").stat().st_size for run in (one, tmp_path / "soup")]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.05)
    other = published(taught(new_learner, "test_convnext"), "other", arch="test_convnext")
    result = run_command("ensemble", one, other, *out)
    assert result.exit_code == 2
    assert "one architecture" in result.stderr


def test_what_does_not_go_together_is_told(new_learner, published, table, folder):
    one = published(taught(new_learner), "one")
    result = run_command("ensemble", one)
    assert result.exit_code == 2
    assert "at least two runs" in result.stderr
    swapped = table.assign(
        split=table["split"].map({"train": "train", "valid": "calibration", "calibration": "valid"})
    )
    two = published(taught(new_learner), "two", photos=swapped)
    result = run_command("ensemble", one, two)
    assert result.exit_code == 2
    assert "another split" in result.stderr
    small = published(taught(new_learner, size=32), "small", size=32)
    result = run_command("ensemble", one, small)
    assert result.exit_code == 2
    assert "another size (32)" in result.stderr
    result = run_command("ensemble", one, two, "--out", one)
    assert result.exit_code == 2
    assert "overwritten" in result.stderr
    result = run_command("ensemble", one, folder)
    assert result.exit_code == 2
    assert "birds.safetensors" in result.stderr


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


def test_snapshots_of_one_run_become_one_file(new_learner, published, tmp_path, table):
    learn = new_learner()
    run = Run(tmp_path / "restarted").begin({}, table)
    with learn.no_bar(), learn.no_logging():
        fit(learn, run, "fine", 3, 0.005, schedule="warm_restarts", restarts=2)
    published(learn, "restarted")
    snapshots = sorted(run.snapshots.iterdir())
    assert run_command("ensemble", *snapshots, "--out", tmp_path / "both").exit_code == 0
    both = Classifier(tmp_path / "both" / "birds.onnx")
    of = both.card["ensemble"]["members"]
    assert [each["file"] for each in of] == [path.name for path in snapshots]
    photos = np.stack([drawn.draw_bird("Night_Inkling", seed, SIZE, SIZE) for seed in range(3)])
    single = Classifier(tmp_path / "restarted" / "birds.onnx").predict(photos).embedding
    assert both.predict(photos).embedding.shape[1] == 2 * single.shape[1]


def test_timm_is_told_what_the_weights_want(new_learner, settings):
    learn = new_learner("random", "test_resnet", drop_path_rate=0.5)
    assert any(type(module).__name__ == "DropPath" for module in learn.model.modules())
    own = Preparation.for_arch(ARCH, SIZE, mean=(0.5,) * 3, std=(0.25,) * 3, drop_path_rate=0.5)
    assert asdict(own) == settings | {"mean": (0.5,) * 3, "std": (0.25,) * 3}
    with pytest.raises(NetworkError, match=r"test_resnet with `arch_options` .*wide"):
        new_learner("random", "test_resnet", wide=2)
