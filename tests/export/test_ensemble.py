"""Several networks become one file, by the mean of their logits or weights, through the gate."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from birds import drawn
from birds.classifier import Classifier
from export.card import version_of
from export.graph import Graph
from fieldmark.network.ensemble import average_weights, join_networks
from fieldmark.network.network import Network
from fieldmark.run import Run
from tests.command_line import run_command
from tests.conftest import ARCH, SIZE, create_network

BIRDS = np.stack([drawn.draw_bird(name, 1, SIZE, SIZE) for name in drawn.SPECIES])


@pytest.fixture(autouse=True)
def photos_in_place(folder, monkeypatch):
    monkeypatch.setenv("FIELDMARK_PHOTOS", str(folder))


@pytest.fixture
def write_run(run, tmp_path):
    """Return a function that writes a run of another network, as far as an ensemble reads it."""

    def write(name, network, **changes):
        folder = tmp_path / name
        shutil.copytree(run, folder)
        (folder / "birds.onnx").unlink()
        card = Run(run).card | {"name": name, "architecture": network.arch} | changes
        network.round_to_half()
        card["version"] = version_of(network.stored_weights(), "fp16")
        network.save(folder / "birds.safetensors", card)
        return folder

    return write


@pytest.fixture
def other_network(network):
    """Return a network like that of the session's run, but with another head."""
    with torch.no_grad():
        network.head[-1].weight.mul_(1.2)
    return network


@pytest.mark.parametrize("arch", [ARCH, "test_resnet", "test_vit"])
def test_a_joined_network_computes_the_mean_of_calibrated_logits(network, arch):
    second = create_network("random", arch)
    second.preparation = replace(second.preparation, mean=(0.4,) * 3, std=(0.3,) * 3)
    joined = join_networks([network, second], [0.5, 2.0])
    first, other = (each.forward_pixels(BIRDS)[0] for each in (network, second))
    assert torch.allclose(joined.forward_pixels(BIRDS)[0], (first / 0.5 + other / 2) / 2, atol=1e-4)
    sizes = [each.backbone.map_size for each in (joined, network)]
    assert sizes[0] == (None if arch == "test_vit" else sizes[1])


def test_the_map_of_a_joined_network_adds_up_to_its_logits(network):
    joined = join_networks([network, create_network("random", "test_resnet")], [1.0, 1.0])
    head = Graph(joined).outputs
    with torch.no_grad():
        maps = joined.backbone(joined.preparation.normalize(BIRDS))
        by_position = torch.einsum("ndhw,cd->nchw", maps, head.class_weight)
    logits = by_position.mean((2, 3)) + head.class_bias
    assert torch.allclose(logits, joined.forward_pixels(BIRDS)[0], atol=1e-4)


def test_averaged_weights_are_the_mean_of_each_weight(run, other_network):
    networks = [Network.load(run), other_network]
    states = [{k: v.clone() for k, v in n.model.state_dict().items()} for n in networks]
    averaged = average_weights(networks).model.state_dict()
    for name, value in averaged.items():
        if value.is_floating_point():
            assert torch.allclose(value, (states[0][name] + states[1][name]) / 2, atol=1e-6)


@pytest.mark.slow
def test_two_runs_become_one_file_through_the_gate(run, network, write_run, tmp_path):
    torch.manual_seed(0)
    second = create_network("random", "test_convnext")
    second.preparation = network.preparation  # the one in the card that write_run copies
    recipe = Run(run).recipe | {"arch": "test_convnext"}
    both_runs = [run, write_run("two", second, recipe=recipe)]
    result = run_command("ensemble", *both_runs, "--out", tmp_path / "both")
    assert (result.exit_code, result.stderr) == (0, "")
    ensemble, classifier = Run(tmp_path / "both"), Classifier(tmp_path / "both" / "birds.onnx")
    temperature = Run(run).card["temperature"]
    logits = [each.forward_pixels(BIRDS)[0] / temperature for each in (network, second)]
    expected = (sum(logits) / 2 / classifier.card["temperature"]).softmax(1)
    assert classifier.predict(BIRDS).probability == pytest.approx(expected.numpy(), abs=1e-3)
    assert classifier.predict(BIRDS).heatmap.any()
    assert classifier.card["architecture"] == f"{ARCH} + test_convnext"
    ensemble.check_complete()
    assert len(ensemble.history) == 0
    assert ensemble.members == [run.name, "two"]
    assert ensemble.metrics["accuracy"] == classifier.card["metrics"]["accuracy"]
    result = run_command("ensemble", run, ensemble.folder, "--out", tmp_path / "three")
    assert (result.exit_code, "ensemble itself" in result.stderr) == (2, True)
    # it is exported again from its weights and split, as any run
    assert run_command("export", ensemble.folder).exit_code == 0
    again = Classifier(ensemble.model_file)
    assert again.predict(BIRDS).probability == pytest.approx(
        classifier.predict(BIRDS).probability, abs=1e-5
    )
    assert again.card["ensemble"] == classifier.card["ensemble"]
    result = run_command("export", ensemble.folder, "--weights-dtype", "int8")
    assert (result.exit_code, "8 bits" in result.stderr) == (2, True)


@pytest.mark.slow
def test_weights_of_one_architecture_are_averaged(run, other_network, write_run, tmp_path):
    two = write_run("two", other_network)
    result = run_command("ensemble", run, two, "--method", "weights", "--out", tmp_path / "mean")
    assert (result.exit_code, result.stderr) == (0, "")
    sizes = [Run(each).weights_file.stat().st_size for each in (run, tmp_path / "mean")]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.05)


@pytest.mark.slow
def test_snapshots_of_one_run_become_one_file(run, network, write_run, other_network, tmp_path):
    source = Run(write_run("restarted", network))
    source.snapshots.mkdir()
    files = [source.snapshots / f"{number}.safetensors" for number in (1, 2)]
    save_file(Network.load(run).model.state_dict(), files[0])
    save_file(other_network.model.state_dict(), files[1])
    result = run_command("ensemble", *files, "--out", tmp_path / "both")
    assert (result.exit_code, result.stderr) == (0, "")
    assert Run(tmp_path / "both").members == ["1.safetensors", "2.safetensors"]
    outputs = [Classifier(each / "birds.onnx").predict(BIRDS) for each in (run, tmp_path / "both")]
    assert outputs[1].embedding.shape[1] == 2 * outputs[0].embedding.shape[1]


def swap_splits(folder):
    split = pd.read_csv(folder / "split.csv", dtype=str)
    names = {"train": "train", "valid": "calibration", "calibration": "valid"}
    split.assign(split=split["split"].map(names)).to_csv(folder / "split.csv", index=False)


def test_runs_that_cannot_be_combined_are_refused(run, network, write_run, folder, tmp_path):
    another_split = write_run("another_split", network)
    swap_splits(another_split)
    small = create_network("random", size=32)
    another_size = write_run("small", small, preparation=small.preparation.to_card())
    convnext = create_network("random", "test_convnext")
    another_arch = write_run("convnext", convnext, recipe=Run(run).recipe | {"arch": convnext.arch})
    for arguments, message in (
        ([run], "at least two runs"),
        ([run, another_split], "another split"),
        ([run, another_size], "another size (32)"),
        ([run, another_arch, "--method", "weights"], "one architecture"),
        ([run, another_split, "--out", run], "overwritten"),
        ([run, folder], "birds.safetensors"),
    ):
        result = run_command("ensemble", "--out", tmp_path / "out", *arguments)
        assert result.exit_code == 2
        assert message in result.stderr
    assert not (tmp_path / "out").exists()
