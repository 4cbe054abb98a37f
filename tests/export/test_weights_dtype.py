"""Each form of the model file keeps the contract, and its answers as well as it can."""

import re
import sys
import tempfile

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from onnx import TensorProto, numpy_helper

from benchmarks import precision as benchmark
from birds import drawn
from birds.classifier import TOLERANCE, Classifier, ModelError, drawn_photo
from export import card, drop, model_file, tolerance
from export import consistency as agreement
from export import weights_dtype as precision
from export.graph import ExportError, Graph
from fieldmark.data import loaders as data
from fieldmark.network.network import Network
from tests.conftest import ROOT, SIZE

PHOTOS = np.stack([drawn.draw_bird(name, 7, SIZE, SIZE) for name in drawn.SPECIES])


@pytest.fixture(scope="module")
def graph(run):
    """Return the graph that `run` was exported from."""
    return Graph(Network.load(run), Classifier(run / "birds.onnx").card["temperature"]).eval()


@pytest.fixture(scope="module")
def plain(graph):
    return model_file.to_onnx(graph, SIZE)


@pytest.fixture(scope="module")
def pixels(table, folder):
    chosen = precision.calibration(table, 30)
    return np.stack([data.photo.prepare((folder / path).read_bytes(), SIZE) for path in chosen])


@pytest.fixture(scope="module")
def int8(plain, pixels):
    return precision.stored(plain, "int8", pixels)


@pytest.fixture
def served(run, tmp_path):
    """Return a function that writes a model with a card and loads it."""

    def load(model, outputs):
        written = Classifier(run / "birds.onnx").card | {"drawn_photo": outputs}
        model_file.write(model, written, tmp_path / "birds.onnx")
        return Classifier(tmp_path / "birds.onnx")

    return load


def kinds(model):
    return {tensor.data_type for tensor in model.graph.initializer}


def initial(model):
    return {tensor.name: tensor for tensor in model.graph.initializer}


def test_fp32_is_the_graph_itself(plain, graph):
    made = precision.stored(plain, "fp32")
    assert TensorProto.FLOAT16 not in kinds(made)
    with torch.no_grad():
        expected = graph(torch.from_numpy(PHOTOS))
    for one, other in zip(tolerance.outputs(made, PHOTOS).values(), expected, strict=True):
        assert np.allclose(one, other.numpy(), atol=1e-4)


def test_fp16_is_what_is_published(plain, model):
    assert precision.stored(plain, "fp16").graph == onnx.load(model).graph


def test_fp16_gives_the_very_answers_of_fp32(plain):
    one, other = (precision.stored(plain, kind) for kind in ("fp16", "fp32"))
    assert one.ByteSize() < 0.7 * other.ByteSize()
    for name, values in tolerance.outputs(one, PHOTOS).items():
        assert np.array_equal(values, tolerance.outputs(other, PHOTOS)[name])


def test_weights_that_nobody_rounded_are_not_stored_as_fp16(plain):
    spoilt = onnx.ModelProto()
    spoilt.CopyFrom(plain)
    tensor = initial(spoilt)[precision.float_convolutions(spoilt)[0]]
    values = numpy_helper.to_array(tensor) * np.float32(1.0001)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    with pytest.raises(ValueError, match="round_to_half comes first"):
        precision.stored(spoilt, "fp16")


def test_another_precision_is_refused(plain):
    with pytest.raises(ValueError, match="fp32, fp16, int8"):
        precision.stored(plain, "int4")


def test_the_float32_model_stays_as_it_is(plain, pixels):
    before = plain.SerializeToString()
    for kind in precision.PRECISIONS:
        precision.stored(plain, kind, pixels)
    assert plain.SerializeToString() == before


def test_int8_keeps_the_contract_and_is_one_smaller_file(int8, plain, served):
    classifier = served(int8, tolerance.drawn_outputs(int8, SIZE))
    axes = agreement.check_axes(int8)
    agreement.check_card(int8, axes, classifier.card)
    assert not [tensor for tensor in int8.graph.initializer if tensor.external_data]
    assert int8.ByteSize() < precision.stored(plain, "fp16").ByteSize()
    content = int8.SerializeToString()
    for trace in (b"stack_trace", tempfile.gettempdir().encode(), str(ROOT).encode()):
        assert trace not in content
    assert not [node for node in int8.graph.node if node.doc_string or node.metadata_props]


def test_int8_answers_a_batch_as_it_answers_one_photo(int8, served):
    classifier = served(int8, tolerance.drawn_outputs(int8, SIZE))
    together = classifier.predict(PHOTOS)
    for place, photo in enumerate(PHOTOS):
        for one, all_of_them in zip(classifier.predict(photo[None]), together, strict=True):
            assert np.allclose(one[0], all_of_them[place], atol=1e-5)


def test_only_convolutions_compute_in_8_bits_and_neither_the_first_nor_depthwise_ones(int8):
    made_by = {output: node for node in int8.graph.node for output in node.output}
    tensors, in_bits, floats = initial(int8), 0, []
    for place, node in enumerate(precision.convolutions(int8)):
        weight = made_by.get(node.input[1])
        if weight is not None and weight.op_type == "DequantizeLinear":
            assert made_by[node.input[0]].op_type == "DequantizeLinear"
            values = numpy_helper.to_array(tensors[weight.input[0]])
            assert values.dtype == np.int8
            assert np.abs(values.astype(int)).max() <= 64
            in_bits += 1
        else:
            floats.append(node.name)
        first = place < precision.FIRST
        grouped = onnx.helper.get_node_attr_value(node, "group") > 1
        assert (floats[-1:] == [node.name]) == (first or grouped)
    assert in_bits > len(floats) > precision.FIRST
    used_by = {name: node.op_type for node in int8.graph.node for name in node.input}
    quantised = {t.name for t in tensors.values() if t.data_type == TensorProto.INT8 and t.dims}
    assert {used_by[name] for name in quantised} == {"DequantizeLinear"}
    head = [t for t in tensors.values() if t.name.startswith("class_")]
    assert {t.data_type for t in head} == {TensorProto.FLOAT}


def test_int8_answers_nearly_as_the_graph_does(int8, graph):
    """The tiny network is never sure, so that many answers hang by a thread."""
    expected, found, _ = answers(graph, int8)
    assert drop.agreeing(expected, found).mean() > 0.8
    assert np.abs(expected - found).mean() < 0.03
    assert np.abs(expected - found).max() > TOLERANCE  # or nothing was made smaller


def test_int8_whose_ranges_are_too_narrow_is_refused(plain, pixels, graph, monkeypatch):
    monkeypatch.setattr(precision, "PERCENTILE", 80)
    made = precision.stored(plain, "int8", pixels)
    expected, found, truth = answers(graph, made)
    assert drop.agreeing(expected, found).mean() < 0.8
    with pytest.raises(drop.DropError, match="int8"):
        drop.check("int8", expected, found, truth)


def answers(graph, model):
    """Return what the graph and a file say of drawn birds, and which they are."""
    names = list(drawn.SPECIES)
    birds = [(n, drawn.draw_bird(names[n], k, SIZE, SIZE)) for n in range(6) for k in range(40, 60)]
    seen, order = np.stack([bird for _, bird in birds]), np.argsort(np.argsort(names))
    with torch.no_grad():
        expected = graph(torch.from_numpy(seen))[0].numpy()
    truth = np.array([order[n] for n, _ in birds])
    return expected, tolerance.outputs(model, seen)["probability"], truth


def test_int8_is_not_made_without_photos(plain, pixels):
    for nothing in (None, pixels[:0]):
        with pytest.raises(ValueError, match="training photos"):
            precision.stored(plain, "int8", nothing)


def test_a_network_of_few_convolutions_is_not_called_int8(plain, pixels, monkeypatch):
    monkeypatch.setattr(precision, "FIRST", 12)
    with pytest.raises(ExportError, match=r"Only \d+% .* fp16"):
        precision.stored(plain, "int8", pixels)


def test_calibration_photos_are_training_photos_of_all_species(table):
    chosen = table.set_index("path").loc[precision.calibration(table, 12)]
    assert set(chosen["split"]) == {"train"}
    assert chosen["label"].value_counts().to_dict() == dict.fromkeys(table["label"].unique(), 2)
    assert precision.calibration(table, 12) == precision.calibration(table, 12)
    assert precision.calibration(table, 12, seed=1) != precision.calibration(table, 12)
    every = precision.calibration(table, 10_000)
    assert sorted(every) == sorted(table[table["split"] == "train"]["path"])


def test_photos_are_handed_to_calibration_one_by_one():
    reader = precision.Pixels(PHOTOS)
    assert len(reader) == 6
    reader.set_range(start_index=2, end_index=4)
    for photo in PHOTOS[2:4]:
        assert np.array_equal(reader.get_next()["photo"], photo[None])
    assert reader.get_next() is None


def test_a_card_records_what_the_int8_file_itself_answers(int8, graph, served):
    served(int8, tolerance.drawn_outputs(int8, SIZE))
    with pytest.raises(ModelError, match="drawn photo"):
        served(int8, card.drawn_outputs(graph, SIZE))


def test_floats_differ_by_less_than_the_tolerance_and_8_bits_by_more(plain, int8):
    floats = tolerance.tolerances(precision.stored(plain, "fp16"), PHOTOS)
    assert set(floats.values()) == {TOLERANCE}
    bits = tolerance.tolerances(int8, PHOTOS)
    assert bits["probability"] > TOLERANCE
    here = tolerance.outputs(int8, PHOTOS)
    for level in tolerance.OTHER_WAYS:
        for name, there in tolerance.outputs(int8, PHOTOS, level).items():
            assert np.allclose(here[name], there, atol=bits[name] / 1.9)


def test_the_tolerance_holds_for_the_drawn_photo_whatever_the_photos_were(int8):
    black = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    allowed, recorded = tolerance.tolerances(int8, black), tolerance.drawn_outputs(int8, SIZE)
    assert allowed["embedding"] > TOLERANCE
    for level in tolerance.OTHER_WAYS:
        there = tolerance.outputs(int8, drawn_photo(SIZE)[None], level)
        for name, value in recorded.items():
            assert np.allclose(there[name][0], value, atol=allowed[name])


def test_the_precisions_are_compared_in_one_table(run, folder, monkeypatch, capsys):
    monkeypatch.setenv("FIELDMARK_PHOTOS", str(folder))
    monkeypatch.setattr(sys, "argv", ["precision", str(run), "--rounds", "2"])
    assert benchmark.main() == 0
    told = capsys.readouterr().out
    rows = [re.split(r" *\| *", line)[1:-1] for line in told.splitlines() if line[:1] == "|"]
    found = pd.DataFrame(rows[2:], columns=rows[0]).set_index("precision")
    assert list(found.index) == list(precision.PRECISIONS)
    assert found["MB"].astype(float).is_monotonic_decreasing
    assert found.loc["fp32", "2 threads"].endswith("(1.00)")
    assert list(found["gate"][:2]) == ["passed", "passed"]
    assert found.loc["fp16", "points lost"].startswith("0.00 (-")


def test_a_precision_that_the_network_cannot_have_is_left_out_of_the_table(
    run, folder, monkeypatch, capsys
):
    monkeypatch.setenv("FIELDMARK_PHOTOS", str(folder))
    monkeypatch.setattr(sys, "argv", ["precision", str(run), "--rounds", "1"])
    monkeypatch.setattr(precision, "FIRST", 12)
    assert benchmark.main() == 0
    told = capsys.readouterr().out
    assert "int8: Only" in told
    assert re.findall(r"^\| (\w+) \| \d", told, re.MULTILINE) == ["fp32", "fp16"]


def test_without_its_photos_the_comparison_says_where_to_put_them(
    run, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("FIELDMARK_PHOTOS", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["precision", str(run)])
    assert benchmark.main() == 2
    assert "FIELDMARK_PHOTOS" in capsys.readouterr().err
