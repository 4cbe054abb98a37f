"""An 8-bit file keeps the contract, and predicts nearly what its float32 graph does."""

import tempfile

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper

from birds import drawn, photo
from birds.classifier import TOLERANCE, Classifier, ModelError, drawn_photo
from export import drop, quantization
from export.card import describe_drawn_photo
from export.consistency import check_axes, check_card
from export.exporter import export_model
from export.model_file import write_model
from export.weights_dtype import convert, find_convolutions
from fieldmark.errors import ExportError, GateError
from fieldmark.evaluation.predictions import from_probability
from tests.conftest import FACTS, ROOT, SIZE

BIRDS = np.stack([drawn.draw_bird(name, 7, SIZE, SIZE) for name in drawn.SPECIES])


@pytest.fixture(scope="session")
def pixels(table, folder):
    paths = quantization.sample_range_photos(table, 30)
    return np.stack([photo.prepare((folder / path).read_bytes(), SIZE) for path in paths])


@pytest.fixture(scope="session")
def int8(float_model, pixels):
    return quantization.quantize(float_model, pixels)


@pytest.fixture
def serve(run, tmp_path):
    """Return a function that writes a model with a card and loads it."""

    def load(model, outputs):
        card = Classifier(run / "birds.onnx").card | {"drawn_photo": outputs}
        write_model(model, card, tmp_path / "birds.onnx")
        return Classifier(tmp_path / "birds.onnx")

    return load


def test_int8_keeps_the_contract_and_is_smaller(int8, float_model, serve):
    classifier = serve(int8, quantization.describe_drawn_photo(int8, SIZE))
    check_card(int8, check_axes(int8), classifier.card)
    assert not [tensor for tensor in int8.graph.initializer if tensor.external_data]
    assert int8.ByteSize() < convert(float_model, "fp16").ByteSize()
    content = int8.SerializeToString()
    for trace in (b"stack_trace", tempfile.gettempdir().encode(), str(ROOT).encode()):
        assert trace not in content
    assert not [node for node in int8.graph.node if node.doc_string or node.metadata_props]


def test_the_float_model_is_not_changed(float_model, pixels):
    before = float_model.SerializeToString()
    quantization.quantize(float_model, pixels[:2])
    assert float_model.SerializeToString() == before


def test_int8_computes_a_photo_alone_and_in_a_batch_alike(int8, serve):
    classifier = serve(int8, quantization.describe_drawn_photo(int8, SIZE))
    batch = classifier.predict(BIRDS)
    for index, pixels in enumerate(BIRDS):
        for alone, together in zip(classifier.predict(pixels[None]), batch, strict=True):
            assert np.allclose(alone[0], together[index], atol=1e-5)


def test_only_convolutions_are_quantized_except_the_first_and_depthwise_ones(int8):
    producers = {output: node for node in int8.graph.node for output in node.output}
    tensors = {tensor.name: tensor for tensor in int8.graph.initializer}
    quantized, floats = 0, []
    for index, node in enumerate(find_convolutions(int8)):
        weight = producers.get(node.input[1])
        if weight is not None and weight.op_type == "DequantizeLinear":
            assert producers[node.input[0]].op_type == "DequantizeLinear"
            values = numpy_helper.to_array(tensors[weight.input[0]])
            assert values.dtype == np.int8
            assert np.abs(values.astype(int)).max() <= 64
            quantized += 1
        else:
            floats.append(node.name)
        first = index < quantization.FIRST_IN_FLOAT
        grouped = onnx.helper.get_node_attr_value(node, "group") > 1
        assert (floats[-1:] == [node.name]) == (first or grouped)
    assert quantized > len(floats) > quantization.FIRST_IN_FLOAT
    consumers = {name: node.op_type for node in int8.graph.node for name in node.input}
    weights = {t.name for t in tensors.values() if t.data_type == TensorProto.INT8 and t.dims}
    assert {consumers[name] for name in weights} == {"DequantizeLinear"}
    head = [tensor for tensor in tensors.values() if "class_" in tensor.name]
    assert {tensor.data_type for tensor in head} == {TensorProto.FLOAT}


def predict_birds(graph, model):
    """Return the predictions of the graph and of a model for 120 drawn birds."""
    names = list(drawn.SPECIES)
    rows = [(label, seed) for label in range(6) for seed in range(40, 60)]
    pixels = np.stack([drawn.draw_bird(names[label], seed, SIZE, SIZE) for label, seed in rows])
    with torch.no_grad():
        expected = graph(torch.from_numpy(pixels))[0].numpy()
    labels = sorted(names)
    facts = {
        "labels": labels,
        "paths": [str(row) for row in rows],
        "truth": np.array([labels.index(names[label]) for label, _ in rows]),
    }
    computed = quantization.compute_outputs(model, pixels)["probability"]
    return from_probability(expected, 1.0, **facts), from_probability(computed, 1.0, **facts)


def test_int8_predicts_nearly_what_the_graph_does(int8, graph):
    """The tiny network is never certain, so that many predictions change easily."""
    expected, computed = predict_birds(graph, int8)
    differences = np.abs(expected.probability - computed.probability)
    assert drop.agreeing(expected, computed).mean() > 0.8
    assert differences.mean() < 0.03
    assert differences.max() > TOLERANCE  # or nothing was quantized


def test_int8_whose_ranges_are_too_narrow_is_refused(float_model, pixels, graph, monkeypatch):
    monkeypatch.setattr(quantization, "PERCENTILE", 80)
    expected, computed = predict_birds(graph, quantization.quantize(float_model, pixels))
    assert drop.agreeing(expected, computed).mean() < 0.8
    with pytest.raises(GateError, match="int8"):
        drop.check_drop("int8", expected, computed)


def test_int8_needs_photos(float_model, pixels):
    with pytest.raises(ValueError, match="training photos"):
        quantization.quantize(float_model, pixels[:0])


def test_a_network_of_few_convolutions_is_refused(float_model, pixels, monkeypatch):
    monkeypatch.setattr(quantization, "FIRST_IN_FLOAT", 12)
    with pytest.raises(ExportError, match=r"Only \d+% .* fp16"):
        quantization.quantize(float_model, pixels)


def test_ranges_come_from_training_photos_of_all_species(table):
    paths = quantization.sample_range_photos(table, 12)
    chosen = table.set_index("path").loc[paths]
    assert set(chosen["split"]) == {"train"}
    assert chosen["label"].value_counts().to_dict() == dict.fromkeys(table["label"].unique(), 2)
    assert quantization.sample_range_photos(table, 12) == paths
    assert quantization.sample_range_photos(table, 12, seed=1) != paths
    every = quantization.sample_range_photos(table, 10_000)
    assert sorted(every) == sorted(table[table["split"] == "train"]["path"])


def test_photos_are_passed_to_onnxruntime_one_by_one():
    reader = quantization.PixelReader(BIRDS)
    assert len(reader) == 6
    reader.set_range(start_index=2, end_index=4)
    for pixels in BIRDS[2:4]:
        assert np.array_equal(reader.get_next()["photo"], pixels[None])
    assert reader.get_next() is None


def test_the_card_records_what_the_int8_file_itself_computes(int8, graph, serve):
    serve(int8, quantization.describe_drawn_photo(int8, SIZE))
    with pytest.raises(ModelError, match="drawn photo"):
        serve(int8, describe_drawn_photo(graph, SIZE))


def test_kernels_differ_within_the_measured_tolerance_for_the_drawn_photo(float_model, int8):
    black = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    of_floats = quantization.measure_tolerances(convert(float_model, "fp16"), black)
    assert set(of_floats.values()) == {TOLERANCE}
    allowed = quantization.measure_tolerances(int8, black)
    recorded = quantization.describe_drawn_photo(int8, SIZE)
    assert allowed["embedding"] > TOLERANCE
    for level in quantization.OTHER_LEVELS:
        other = quantization.compute_outputs(int8, drawn_photo(SIZE)[None], level)
        for name, value in recorded.items():
            assert np.allclose(other[name][0], value, atol=allowed[name])


@pytest.mark.slow
def test_an_int8_file_is_exported_through_the_gate(network, table, folder, tmp_path, monkeypatch):
    # of 24 photos one exceeds the limit, and this network is hardly trained
    monkeypatch.setattr(drop, "MAX_DROP", 10)
    monkeypatch.setitem(drop.MIN_AGREEMENT, "int8", 0.8)
    card = export_model(network, table, folder, FACTS, tmp_path, weights_dtype="int8")
    assert card["weights_dtype"] == "int8"
    assert "-int8-" in card["version"]
    assert card["tolerance"]["embedding"] > TOLERANCE
    assert card["gate"]["agreement"]["n"] == 24
    kinds = {node.op_type for node in onnx.load(tmp_path / "birds.onnx").graph.node}
    assert "QuantizeLinear" in kinds
