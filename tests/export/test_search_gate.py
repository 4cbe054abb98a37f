"""The gate with a finder: from a photo's bytes over its crop to the prediction."""

import json

import pandas as pd
import pytest
from PIL import Image

from birds import crops, drawn, identifier
from birds.classifier import Classifier
from birds.crops import Box
from birds.finder import Finder, describe_mismatch
from export.exporter import export_model
from export.gate import check_gate, expect_crops, predict_over_http
from export.held_out import HeldOut, describe_finder
from fieldmark.errors import GateError
from fieldmark.evaluation.ood import MaximumSoftmax, score_proposals
from fieldmark.evaluation.predictor import Predictor
from fieldmark.evaluation.uncertainty import UncertaintyOptions
from fieldmark.network.network import Network
from tests.conftest import FACTS
from tests.finders import GROUND, write_finder


@pytest.fixture(scope="session")
def searched_run(tmp_path_factory, run, table, folder, finder_file):
    """Export the session's network as it is served with a finder."""
    out, grounds = tmp_path_factory.mktemp("searched"), tmp_path_factory.mktemp("grounds")
    files = [grounds / f"{number}.jpg" for number in range(20)]
    for number, file in enumerate(files):
        even = Image.new("RGB", (120 + number, 90), GROUND)
        file.write_bytes(drawn.encode_photo(even))
    options = UncertaintyOptions(0.8, 0.3, "msp", {"not_birds": files}, finder_file)
    export_model(Network.load(run), table, folder, FACTS, out, options)
    return out


def test_the_card_names_the_finder_and_says_how_the_model_does_on_pasted_photos(
    searched_run, finder_file, table
):
    card, finder = Classifier(searched_run / "birds.onnx").card, Finder(finder_file, 1)
    photos = table["split"].value_counts()
    held_out = int(photos["valid"] + photos["calibration"])
    assert describe_mismatch(card, finder) is None
    assert card["finder"]["sha256"] == finder.sha256
    assert [figure["n"] for figure in card["finder"]["found"].values()] == [held_out, 2 * held_out]
    assert card["gate"]["photos"] == 4 * held_out + 16  # the middle squares, and all versions
    assert card["metrics"]["accuracy"]["n"] == photos["calibration"]
    assert card["field"]["accuracy"]["n"] == 2 * photos["calibration"]
    assert all(card["thresholds"].values())
    reported = card["out_of_distribution"]["not_birds"]["called_unknown"]["n"]
    assert 3 <= reported <= 7  # those on which neither a finder is trained nor a bird is pasted
    report = pd.read_csv(searched_run / "gate.csv")
    assert report["crop"].str.contains("finder").sum() > held_out
    assert report["passed"].all()
    json.dumps(card, allow_nan=False)


def test_the_card_records_the_crops_of_drawn_photos(searched_run, finder_file, table, folder):
    card = Classifier(searched_run / "birds.onnx").card
    network = Network.load(searched_run)
    held_out = HeldOut(table.head(1), folder, Finder(finder_file, 1))
    proposals = held_out.search(Predictor.of_network(network))
    again = describe_finder(held_out.finder, proposals)
    assert again["crops"] == card["finder"]["crops"]
    assert any(len(each) > 1 for each in again["crops"].values())


@pytest.fixture(scope="module")
def expected(searched_run, table, folder, finder_file):
    """Return held-out photos, and the network's proposals for them."""
    photos = table[table["split"] == "calibration"]
    held_out = HeldOut(photos, folder, Finder(finder_file))
    proposals = held_out.search(Predictor.of_network(Network.load(searched_run)))
    temperature = Classifier(searched_run / "birds.onnx").card["temperature"]
    return held_out.source, score_proposals(MaximumSoftmax(), proposals, temperature)


@pytest.fixture
def run_search_gate(searched_run, expected, finder_file):
    def run(finder=finder_file):
        source, proposals = expected
        file = searched_run / "birds.onnx"
        threshold = Classifier(file).card["thresholds"]["unknown"]["threshold"]
        loaded = identifier.Identifier.load(file, finder)
        served = predict_over_http(loaded, source, proposals.choose(threshold))
        return check_gate(*expect_crops(proposals, threshold, served))

    return run


def change_boxes(change):
    """Return a fault that changes each box that the function's finder returns."""

    def plant(monkeypatch):
        find = Finder.find_all

        def find_changed(*arguments):
            return [[change(box) for box in boxes] for boxes in find(*arguments)]

        monkeypatch.setattr(Finder, "find_all", find_changed)

    return plant


def change_margin(monkeypatch):
    propose = crops.propose_crops

    def widen(boxes, width, height):
        wide = [
            box._replace(left=box.left - 0.1 * box.width, width=1.2 * box.width) for box in boxes
        ]
        return propose(wide, width, height)

    monkeypatch.setattr(crops, "propose_crops", widen)


def keep_least_familiar(monkeypatch):
    choose = identifier.choose_looks

    def reverse(*arguments):
        return [looks[::-1] for looks in choose(*arguments)]

    monkeypatch.setattr(identifier, "choose_looks", reverse)


def keep_first(monkeypatch):
    choose = identifier.choose_looks
    monkeypatch.setattr(identifier, "choose_looks", lambda *most: choose(*most[:3], None))


FAULTS = {
    "boxes off by 5 %": change_boxes(lambda box: box._replace(left=box.left + 0.05 * box.width)),
    "x and y swapped": change_boxes(lambda b: Box(b.top, b.left, b.height, b.width, b.score)),
    "another margin": change_margin,
    "the least familiar crop": keep_least_familiar,
    "no second look": keep_first,
}


def test_the_function_looks_where_the_network_is_told_to(run_search_gate):
    report = run_search_gate()
    assert report["passed"].all()
    assert set(report["crop"].str.split().str[-1]) == {"finder", "center"}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_gate_finds_a_fault_in_finder_or_crop(fault, run_search_gate, monkeypatch):
    FAULTS[fault](monkeypatch)
    with pytest.raises(GateError) as caught:
        run_search_gate()
    report = caught.value.report
    assert (report["crop"] != report["function_crop"])[~report["passed"]].any()


@pytest.mark.parametrize("changes", [{"size": 256}, {"threshold": 0.9}])
def test_the_gate_finds_another_finder(changes, run_search_gate, tmp_path):
    with pytest.raises(GateError):
        run_search_gate(write_finder(tmp_path / "other.onnx", **changes))
