"""A run can start from the weights of another."""

import errno
import socket

import pandas as pd
import pytest
import torch

from fieldmark.data.splits import split_photos
from fieldmark.errors import DiskError, WeightsError
from fieldmark.files import sha256_file
from fieldmark.network import weights as weights_module
from fieldmark.network.network import Network
from fieldmark.network.weights import (
    HEAD,
    check_previous_splits,
    describe_weights,
    fetch_weights,
    find_weights_file,
    load_head,
    previous_splits,
    tensors_with_prefix,
)
from fieldmark.run_folder import read_weights_card
from tests.conftest import ARCH, LABELS, create_network


def test_backbone_and_head_can_start_from_a_run(run):
    file = run / "birds.safetensors"
    network = create_network(file)
    load_head(network, file)
    expected = Network.load(run).model.state_dict()
    for name, tensor in network.model.state_dict().items():
        assert torch.equal(expected[name], tensor), name
    facts = describe_weights(str(file))
    assert facts["run"]["version"] == read_weights_card(file)["version"]
    assert facts["run"]["name"] == "tiny"


def test_the_head_is_new_unless_the_old_one_is_loaded(run):
    network = create_network(run / "birds.safetensors")
    old = tensors_with_prefix(run / "birds.safetensors", HEAD)
    assert not torch.equal(network.head[-1].weight, old["4.weight"])


def test_damaged_weights_of_a_run_are_refused(run, tmp_path):
    content = bytearray((run / "birds.safetensors").read_bytes())
    for position in range(len(content) - 2000, len(content), 100):
        content[position] ^= 0x55
    file = tmp_path / "birds.safetensors"
    file.write_bytes(content)
    for load in (Network.load, lambda folder: create_network(folder / file.name)):
        with pytest.raises(WeightsError, match=r"birds\.safetensors is damaged.*backup"):
            load(tmp_path)


def test_photos_keep_the_splits_of_the_previous_run(table, run):
    known = previous_splits(run / "birds.safetensors")
    assert known.to_dict() == table.set_index("path")["split"].to_dict()
    again = split_photos(table.assign(split="train"), 0.2, 0.2, seed=7, previous=known)
    pd.testing.assert_series_equal(again["split"], table["split"])
    swap = {"train": "calibration", "calibration": "train", "valid": "valid"}
    check_previous_splits(known, again)
    check_previous_splits(None, again)
    with pytest.raises(WeightsError, match=r"trained on \d+ photos"):
        check_previous_splits(known, table.assign(split=table["split"].map(swap)))
    tuned = table["split"].replace("valid", "calibration")
    with pytest.raises(WeightsError, match=r"trained on \d+ photos"):
        check_previous_splits(known, table.assign(split=tuned))


def test_new_photos_fill_the_splits_and_moved_ones_keep_theirs(table, run):
    known = previous_splits(run / "birds.safetensors")
    first, second = sorted(table["label"].unique())[:2]
    mine = table[table["label"] == first]
    moved = mine[mine["split"] == "train"].index[0]
    paths = table["path"].copy()
    paths[moved] = f"{second}/{paths[moved].rsplit('/')[-1]}-moved"
    known = known.rename({table["path"][moved]: f"{first}/{paths[moved].rsplit('/')[-1]}"})
    new = pd.DataFrame({"path": [f"{first}/new-{k}.jpg" for k in range(20)], "label": first})
    labels = table["label"].where(table.index != moved, second)
    grown = pd.concat([table.assign(path=paths, label=labels), new], ignore_index=True)
    made = split_photos(grown.assign(split="train"), 0.2, 0.2, seed=1, previous=known)
    assert made["split"].iloc[moved] == "train"
    old = made.iloc[: len(table)]
    assert (old["split"] == table["split"]).all()
    assert set(made["split"].iloc[len(table) :]) == {"train", "valid", "calibration"}
    counts = made[made["label"] == first]["split"].value_counts()
    assert counts["valid"] == counts["calibration"] == round(0.2 * counts.sum())


def test_a_near_duplicate_of_a_train_photo_is_in_train(table, run):
    known = previous_splits(run / "birds.safetensors")
    trained, judged = (table.index[table["split"] == part][0] for part in ("train", "calibration"))
    pair = pd.Series(None, table.index, dtype=object)
    pair[[trained, judged]] = "pair"
    made = split_photos(table.assign(split="train", group=pair), 0.2, 0.2, previous=known)
    assert made["split"][judged] == "train"


def test_weights_of_a_run_need_its_split_file(run, tmp_path, weights):
    file = tmp_path / "birds.safetensors"
    file.write_bytes((run / "birds.safetensors").read_bytes())
    with pytest.raises(WeightsError, match=r"split\.csv is missing"):
        previous_splits(file)
    assert previous_splits(None) is None
    assert previous_splits(weights) is None


def test_the_weights_of_a_run_of_another_architecture_are_refused(run):
    with pytest.raises(WeightsError, match=f"{ARCH}, not of test_resnet"):
        create_network(run / "birds.safetensors", "test_resnet")


def test_a_head_for_other_labels_or_of_no_run_is_refused(run, weights):
    with pytest.raises(WeightsError, match="other labels"):
        load_head(create_network("random", labels=LABELS[1:]), run / "birds.safetensors")
    for file in (find_weights_file("random"), weights):
        with pytest.raises(WeightsError, match="head_init"):
            load_head(create_network("random"), file)


def test_other_files_have_no_card(weights, tmp_path):
    saved = tmp_path / "weights.pth"
    torch.save({"a": torch.zeros(1)}, saved)
    assert read_weights_card(weights) is None
    assert read_weights_card(saved) is None


@pytest.mark.parametrize("listens", [False, True], ids=["no hub", "silent hub"])
def test_weights_that_cannot_be_fetched_are_reported_without_retries(monkeypatch, listens):
    with socket.create_server(("127.0.0.1", 0)) as hub:
        port = hub.getsockname()[1]
        if not listens:
            hub.close()
        addresses = []

        def address(repository, name):
            addresses.append(f"http://127.0.0.1:{port}/{repository}/{name}")
            return addresses[-1]

        monkeypatch.setattr(weights_module, "hf_hub_url", address)
        monkeypatch.setattr(weights_module, "HUB_TIMEOUT", 0.2)
        expected = r"127.0.0.1:\d+/timm/resnet18.*model\.safetensors.*internet.*FIELDMARK_WEIGHTS"
        with pytest.raises(WeightsError, match=expected):
            fetch_weights("resnet18", "pretrained")
    assert len(addresses) == 1


def test_a_full_disk_is_not_reported_as_a_missing_network(monkeypatch):
    def download(repository, name):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(weights_module, "get_hf_file_metadata", lambda *_, **__: None)
    monkeypatch.setattr(weights_module, "hf_hub_download", download)
    with pytest.raises(DiskError, match=r"cannot be written: the disk is full"):
        fetch_weights("resnet18", "pretrained")


def test_weights_in_the_cache_of_the_hub_need_no_network(monkeypatch, weights):
    monkeypatch.setattr(weights_module, "try_to_load_from_cache", lambda *_: str(weights))
    monkeypatch.setattr(weights_module, "get_hf_file_metadata", None)  # calling it would fail
    fetch_weights(ARCH, "pretrained")
    loaded, expected = (create_network(start).model for start in ("pretrained", weights))
    expected = expected[0].state_dict()
    assert all(torch.equal(expected[name], t) for name, t in loaded[0].state_dict().items())


def test_damaged_weights_in_the_cache_of_the_hub_are_downloaded_again(
    monkeypatch, weights, tmp_path, capsys
):
    blob = tmp_path / sha256_file(weights)
    blob.write_bytes(weights.read_bytes()[:-1] + b"?")
    file = tmp_path / "model.safetensors"
    file.symlink_to(blob)

    def download(repository, name):
        blob.write_bytes(weights.read_bytes())
        file.symlink_to(blob)

    monkeypatch.setattr(weights_module, "try_to_load_from_cache", lambda *_: str(file))
    monkeypatch.setattr(weights_module, "get_hf_file_metadata", lambda *_, **__: None)
    monkeypatch.setattr(weights_module, "hf_hub_download", download)
    fetch_weights(ARCH, "pretrained")
    assert capsys.readouterr().out == f"{file} is damaged and is downloaded again.\n"
    assert file.read_bytes() == weights.read_bytes()
    fetch_weights(ARCH, "pretrained")
    assert capsys.readouterr().out == ""


def test_truncated_weights_are_refused(weights, tmp_path):
    for name, load in (
        ("a.safetensors", lambda file: fetch_weights(ARCH, str(file))),
        ("a.safetensors", create_network),
        ("a.pth", create_network),
    ):
        (tmp_path / name).write_bytes(weights.read_bytes()[:5000])
        with pytest.raises(WeightsError, match=rf"{name} .*is damaged"):
            load(tmp_path / name)


def test_a_network_without_pretrained_weights_is_reported():
    with pytest.raises(WeightsError, match="timm has no weights of resnet18d_none"):
        fetch_weights("resnet18d_none", "pretrained")
