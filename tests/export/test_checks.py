"""A model file goes out only if it is what it says, and answers alike in any company."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from birds import drawn
from birds.classifier import Classifier
from birds.model_file import add_checksum
from export import checks, model_file
from export.checks import ALIKE, FileFault, check
from export.consistency import temperature
from export.graph import Graph
from tests.conftest import SIZE
from tests.surgery import operate, rewrite

PHOTOS = drawn.awkward_photos()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "birds.onnx"


def test_a_faultless_file_tells_how_little_company_changes(model):
    found = check(model, PHOTOS)
    assert set(found) == {"largest_difference_in_batches", "largest_difference_of_drawn_photo"}
    assert 0 <= found["largest_difference_in_batches"] <= ALIKE
    assert 0 <= found["largest_difference_of_drawn_photo"] < 1e-4


def test_a_sealed_file_is_checked_alike(model, file):
    file.write_bytes(add_checksum(model.read_bytes()))
    assert check(file, PHOTOS) == check(model, PHOTOS)


def test_batches_of_every_size_are_full_however_few_photos_there_are(model, monkeypatch):
    seen, predict = set(), Classifier.predict

    def watched(self, photos, *how):
        seen.add(len(photos))
        return predict(self, photos, *how)

    monkeypatch.setattr(Classifier, "predict", watched)
    check(model, {"grey": PHOTOS["grey"]})
    assert seen == {1, *checks.BATCHES} == {1, 2, 7}


def test_the_temperature_is_read_out_of_the_graph(new_learner):
    made = model_file.to_onnx(Graph(new_learner(), 1.75), SIZE)
    assert temperature(made) == 1.75


def damaged(model, file):
    file.write_bytes(add_checksum(model.read_bytes())[:-1])


def text(model, file):
    file.write_text("Dear bird,")


def weights_beside(model, file):
    onnx.save(onnx.load(model), file, save_as_external_data=True, size_threshold=0)


def then(graph, output: str, *nodes, **constants) -> None:
    """Let nodes make an output of what it was before, which they know as `was`."""
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = ["was" if name == output else name for name in names]
    graph.node.extend(helper.make_node(kind, ins, outs, **more) for kind, ins, outs, more in nodes)
    for name, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))


def fixed_axis(graph):
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1


def two_axes(graph):
    graph.output[1].type.tensor_type.shape.dim[0].dim_param = "M"


def free_map(graph):
    graph.output[2].type.tensor_type.shape.dim[1].dim_param = "h"


def mixed_photos(graph):
    """Move `unknown` away from its mean over the batch; alone, a photo is its own mean."""
    mean = ("ReduceMean", ["was"], ["average"], {"keepdims": 1})
    off = ("Sub", ["was", "average"], ["off"], {})
    then(graph, "unknown", mean, off, ("Add", ["was", "off"], ["unknown"], {}))


def first_counts(graph):
    """Move embeddings a little towards the first photo's; alone, a photo is the first."""
    first = ("Gather", ["was", "zero"], ["first"], {"axis": 0})
    off = ("Sub", ["first", "was"], ["off"], {})
    part = ("Mul", ["off", "little"], ["part"], {})
    then(
        *(graph, "embedding", first, off, part, ("Add", ["was", "part"], ["embedding"], {})),
        zero=np.zeros(1, np.int64),
        little=np.float32(0.01),
    )


def renamed(graph):
    then(graph, "unknown", ("Identity", ["was"], ["strangeness"], {}))
    graph.output[1].name = "strangeness"


def halved(graph):
    half = TensorProto.FLOAT16
    then(graph, "unknown", ("Cast", ["was"], ["unknown"], {"to": half}))
    graph.output[1].type.tensor_type.elem_type = half


def probability_above_one(graph):
    more = ("Mul", ["was", "more"], ["probability"], {})
    then(graph, "probability", more, more=np.float32(1.0005))


def map_above_one(graph):
    then(graph, "heatmap", ("Mul", ["was", "more"], ["heatmap"], {}), more=np.float32(1.0005))


def not_a_number(graph):
    """Multiply by the brightest over the brightest, which is no number where all is black."""
    then(
        *(graph, "unknown"),
        ("Cast", ["photo"], ["levels"], {"to": TensorProto.FLOAT}),
        ("ReduceMax", ["levels", "others"], ["brightest"], {"keepdims": 0}),
        ("Div", ["brightest", "brightest"], ["one"], {}),
        ("Mul", ["was", "one"], ["unknown"], {}),
        others=np.array([1, 2, 3], np.int64),
    )


def another_metadata(proto):
    proto.metadata_props.add().key = "notes"


def of_graph(change):
    return lambda model, file: operate(model, file, lambda proto: change(proto.graph))


def of_card(change):
    return lambda model, file: rewrite(model, file, change)


def of_preparation(**facts):
    return of_card(lambda card: card["preparation"].update(facts))


def another_hash(card):
    card["preparation"]["sha256"]["grey"] = "0" * 64


def another_answer(card):
    card["drawn_photo"]["unknown"] += 0.01


def same_labels(card):
    card["labels"][1]["label"] = card["labels"][0]["label"]


FAULTS = {
    "damaged or incomplete": damaged,
    "damaged or no ONNX file": text,
    "weights in other files": weights_beside,
    "batches of any size: .* must be free, and the same": of_graph(two_axes),
    "doesn't take batches": of_graph(fixed_axis),
    "Only the first axis of `heatmap`": of_graph(free_map),
    "otherwise in a batch of 2 than alone": of_graph(mixed_photos),
    "than alone .* mixes photos": of_graph(first_counts),
    "has photo, probability, strangeness, heatmap, embedding and not": of_graph(renamed),
    "`unknown` must be of type FLOAT and": of_graph(halved),
    "probabilities of .* don't sum to 1": of_graph(probability_above_one),
    "heat map is not between 0 and 1": of_graph(map_above_one),
    "unknown of black is not finite": of_graph(not_a_number),
    "metadata are card, notes": lambda model, file: operate(model, file, another_metadata),
    "labels in the card are the same": of_card(same_labels),
    "5 labels, its graph": of_card(lambda card: card["labels"].pop()),
    "photos of 72 pixels": of_preparation(size=72),
    "mean of pixels in the card": of_preparation(mean=[0.5, 0.5, 0.5]),
    "std of pixels in the card": of_preparation(std=None),
    "temperature in the card": of_card(lambda card: card.update(temperature=1.5)),
    "opset in the card": of_card(lambda card: card.update(opset=18)),
    "size of the heat map": of_card(lambda card: card.update(heatmap={"height": 3, "width": 2})),
    "drawn photos grey are prepared otherwise": of_card(another_hash),
    "drawn photos .* prepared otherwise": of_preparation(sha256={}),
    "unknown for its drawn photo": of_card(another_answer),
}


@pytest.mark.parametrize(("sentence", "plant"), FAULTS.items())
def test_a_fault_is_caught_and_told(sentence, plant, model, file):
    plant(model, file)
    black = drawn.encode_photo(np.zeros((SIZE, SIZE, 3), np.uint8), "PNG")
    with pytest.raises(FileFault, match=sentence) as caught:
        check(file, PHOTOS | {"black": black})
    assert str(caught.value).endswith(".")
