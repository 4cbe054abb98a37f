"""A model file must fit its card, and treat a photo the same alone and in batches."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from birds import drawn
from birds.classifier import Classifier
from birds.model_file import add_checksum
from export import checks
from export.checks import BATCH_TOLERANCE, ModelFileError, check_model_file
from export.consistency import find_temperature
from tests.conftest import SIZE
from tests.surgery import change_card, change_model

PHOTOS = drawn.awkward_photos()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "birds.onnx"


def test_a_valid_file_reports_its_largest_differences(model):
    differences = check_model_file(model, PHOTOS)
    assert 0 <= differences["largest_difference_in_batches"] <= BATCH_TOLERANCE
    assert 0 <= differences["largest_difference_of_drawn_photo"] < 1e-4


def test_a_file_with_another_checksum_is_checked_the_same(model, file):
    file.write_bytes(add_checksum(model.read_bytes()))
    assert check_model_file(file, PHOTOS) == check_model_file(model, PHOTOS)


def test_few_photos_fill_batches_of_every_size(model, monkeypatch):
    sizes, predict = set(), Classifier.predict

    def record(self, photos, *options):
        sizes.add(len(photos))
        return predict(self, photos, *options)

    monkeypatch.setattr(Classifier, "predict", record)
    check_model_file(model, {"grey": PHOTOS["grey"]})
    assert sizes == {1, *checks.BATCH_SIZES} == {1, 2, 7}


def test_the_temperature_is_found_in_the_graph(float_model, graph):
    assert find_temperature(float_model) == pytest.approx(graph.outputs.temperature)


def cut_short(model, file):
    file.write_bytes(add_checksum(model.read_bytes())[:-1])


def write_text(model, file):
    file.write_text("Dear bird,")


def separate_weights(model, file):
    onnx.save(onnx.load(model), file, save_as_external_data=True, size_threshold=0)


def append_nodes(graph, output: str, *nodes, **constants) -> None:
    """Compute an output by nodes from what it was before, which they call `was`."""
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = ["was" if name == output else name for name in names]
    graph.node.extend(helper.make_node(kind, ins, outs, **more) for kind, ins, outs, more in nodes)
    for name, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))


def fix_batch_axis(graph):
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1


def rename_batch_axis(graph):
    graph.output[1].type.tensor_type.shape.dim[0].dim_param = "M"


def free_heatmap_axis(graph):
    graph.output[2].type.tensor_type.shape.dim[1].dim_param = "h"


def subtract_batch_mean(graph):
    """Move `unknown` away from its mean over the batch; alone, a photo is its own mean."""
    mean = ("ReduceMean", ["was"], ["average"], {"keepdims": 1})
    off = ("Sub", ["was", "average"], ["off"], {})
    append_nodes(graph, "unknown", mean, off, ("Add", ["was", "off"], ["unknown"], {}))


def mix_with_first_photo(graph):
    """Move embeddings a little towards the first photo's; alone, a photo is the first."""
    first = ("Gather", ["was", "zero"], ["first"], {"axis": 0})
    off = ("Sub", ["first", "was"], ["off"], {})
    part = ("Mul", ["off", "little"], ["part"], {})
    append_nodes(
        *(graph, "embedding", first, off, part, ("Add", ["was", "part"], ["embedding"], {})),
        zero=np.zeros(1, np.int64),
        little=np.float32(0.01),
    )


def rename_output(graph):
    append_nodes(graph, "unknown", ("Identity", ["was"], ["strangeness"], {}))
    graph.output[1].name = "strangeness"


def return_half(graph):
    half = TensorProto.FLOAT16
    append_nodes(graph, "unknown", ("Cast", ["was"], ["unknown"], {"to": half}))
    graph.output[1].type.tensor_type.elem_type = half


def probability_above_one(graph):
    more = ("Mul", ["was", "more"], ["probability"], {})
    append_nodes(graph, "probability", more, more=np.float32(1.0005))


def map_above_one(graph):
    append_nodes(
        graph, "heatmap", ("Mul", ["was", "more"], ["heatmap"], {}), more=np.float32(1.0005)
    )


def not_a_number(graph):
    """Multiply by the brightest over the brightest, which is no number where all is black."""
    append_nodes(
        *(graph, "unknown"),
        ("Cast", ["photo"], ["levels"], {"to": TensorProto.FLOAT}),
        ("ReduceMax", ["levels", "others"], ["brightest"], {"keepdims": 0}),
        ("Div", ["brightest", "brightest"], ["one"], {}),
        ("Mul", ["was", "one"], ["unknown"], {}),
        others=np.array([1, 2, 3], np.int64),
    )


def add_metadata(proto):
    proto.metadata_props.add().key = "notes"


def in_graph(change):
    return lambda model, file: change_model(model, file, lambda proto: change(proto.graph))


def in_card(change):
    return lambda model, file: change_card(model, file, change)


def in_preparation(**facts):
    return in_card(lambda card: card["preparation"].update(facts))


def change_fingerprint(card):
    card["preparation"]["sha256"]["grey"] = "0" * 64


def change_drawn_output(card):
    card["drawn_photo"]["unknown"] += 0.01


def repeat_label(card):
    card["labels"][1]["label"] = card["labels"][0]["label"]


FAULTS = {
    "damaged or incomplete": cut_short,
    "not an ONNX file": write_text,
    "weights in other files": separate_weights,
    "batches of any size": in_graph(rename_batch_axis),
    "batches of any size: the first axis": in_graph(fix_batch_axis),
    "first axis of `heatmap`": in_graph(free_heatmap_axis),
    "in a batch of 2 differ": in_graph(subtract_batch_mean),
    "mixes photos": in_graph(mix_with_first_photo),
    "strangeness": in_graph(rename_output),
    "`unknown` must be of type FLOAT": in_graph(return_half),
    "do not sum to 1": in_graph(probability_above_one),
    "not between 0 and 1": in_graph(map_above_one),
    "unknown of black is not finite": in_graph(not_a_number),
    "metadata are card, notes": lambda model, file: change_model(model, file, add_metadata),
    "labels in the card are equal": in_card(repeat_label),
    "5 labels": in_card(lambda card: card["labels"].pop()),
    "72 pixels": in_preparation(size=72),
    "mean of pixels": in_preparation(mean=[0.5, 0.5, 0.5]),
    "std of pixels": in_preparation(std=None),
    "temperature is 1.5": in_card(lambda card: card.update(temperature=1.5)),
    "opset": in_card(lambda card: card.update(opset=18)),
    "size of the heat map": in_card(lambda card: card.update(heatmap={"height": 3, "width": 2})),
    "drawn photos grey": in_card(change_fingerprint),
    "drawn photos .*wide": in_preparation(sha256={}),
    "unknown for its drawn photo": in_card(change_drawn_output),
}


@pytest.mark.parametrize(("message", "plant"), FAULTS.items())
def test_a_planted_fault_is_found(message, plant, model, file):
    plant(model, file)
    black = drawn.encode_photo(np.zeros((SIZE, SIZE, 3), np.uint8), "PNG")
    with pytest.raises(ModelFileError, match=message):
        check_model_file(file, PHOTOS | {"black": black})
