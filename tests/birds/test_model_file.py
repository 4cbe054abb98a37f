"""A file that cannot be served is refused with one line, wherever it was damaged or changed."""

import json
import random
import re
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from birds import drawn, model_file
from birds.classifier import Classifier, ModelError
from birds.errors import UserError
from birds.model_file import CHECKSUM_LENGTH, add_checksum
from tests.conftest import SIZE
from tests.surgery import card_entry, change_card, change_model

PIXELS = np.stack([drawn.draw_bird(name, 1, SIZE, SIZE) for name in drawn.SPECIES])


@pytest.fixture
def file(tmp_path):
    return tmp_path / "birds.onnx"


def predict(path):
    return Classifier(path, 1).predict(PIXELS)


def flip_bit(content: bytes, place: int, bit: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


def test_a_file_with_a_checksum_is_the_same_model_to_every_onnx_reader(model, file):
    plain = model.read_bytes()
    file.write_bytes(add_checksum(plain))
    for output, expected in zip(predict(file), predict(model), strict=True):
        assert np.array_equal(output, expected)
    proto, expected = onnx.load(file), onnx.load_from_string(plain)
    onnx.checker.check_model(proto)
    assert proto.graph == expected.graph
    assert proto.metadata_props == expected.metadata_props


def test_a_flipped_bit_is_noticed_or_harmless(model, file):
    """Only bits of the checksum's own field can be harmless: the file then counts as without."""
    content, rng = add_checksum(model.read_bytes()), random.Random(0)
    expected = predict(model)
    places = [*range(0, CHECKSUM_LENGTH, 3), *(rng.randrange(len(content)) for _ in range(100))]
    for place in places:
        file.write_bytes(flip_bit(content, place, rng.randrange(8)))
        try:
            outputs = predict(file)
        except ModelError:
            continue
        assert place < CHECKSUM_LENGTH
        assert all(np.array_equal(a, b) for a, b in zip(outputs, expected, strict=True)), place


def test_an_incomplete_file_is_refused_wherever_it_ends(model, file):
    content = add_checksum(model.read_bytes())
    ends = [*range(0, CHECKSUM_LENGTH + 2, 5), *range(100, len(content), 9973), len(content) - 1]
    for end in ends:
        file.write_bytes(content[:end])
        with pytest.raises(ModelError):
            Classifier(file, 1)


FUZZ = """
import random, sys
from pathlib import Path
from birds.classifier import Classifier, ModelError
content, file, rng = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]), random.Random(0)
for turn in range(80):
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 1, 4, 32))):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    file.write_bytes(damaged if turn % 2 else content[: rng.randrange(len(content))])
    try:
        Classifier(file, 1)
    except ModelError as error:
        print(error)
    else:
        print("loaded")
"""


def test_a_damaged_file_without_checksum_never_crashes_the_process(model, file):
    """Such as one saved by another tool; its outputs for the drawn photo are checked instead."""
    plain = change_model(model, file.with_name("plain.onnx"), lambda proto: None)
    command = [sys.executable, "-c", FUZZ, str(plain), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 80
    assert "loaded" not in lines[::2]  # the incomplete ones
    assert "loaded" in lines[1::2]
    assert len(set(lines[1::2])) > 1


def folder(model, file):
    file.mkdir()


def empty(model, file):
    file.touch()


def text(model, file):
    file.write_text("Dear bird,")


def cut_short(model, file):
    file.write_bytes(model.read_bytes()[:-1000])


def another_model(model, file):
    kinds = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "g", kinds[:1], kinds[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), file)


def weights_beside(model, file):
    onnx.save(onnx.load(model), file, save_as_external_data=True, size_threshold=0)
    assert len(list(file.parent.iterdir())) > 1


def no_card(model, file):
    change_model(model, file, lambda proto: proto.ClearField("metadata_props"))


def with_card(value: str):
    return lambda model, file: change_model(
        model, file, lambda proto: setattr(card_entry(proto), "value", value)
    )


def card_without(name: str):
    return lambda model, file: change_card(model, file, lambda card: card.pop(name))


def changed(change):
    return lambda model, file: change_card(model, file, change)


def huge_card(model, file):
    change_card(model, file, lambda card: card.update(notes=" " * model_file.MAX_CARD))


def another_type(model, file):
    def cast(proto):
        proto.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
        for node in proto.graph.node:
            node.input[:] = ["uint8" if name == "photo" else name for name in node.input]
        node = helper.make_node("Cast", ["photo"], ["uint8"], to=TensorProto.UINT8)
        proto.graph.node.insert(0, node)

    change_model(model, file, cast)


def half_an_output(model, file):
    def halve(proto):
        for node in proto.graph.node:
            node.output[:] = ["whole" if name == "unknown" else name for name in node.output]
        proto.graph.node.append(
            helper.make_node("Cast", ["whole"], ["unknown"], to=TensorProto.FLOAT16)
        )
        proto.graph.output[1].type.tensor_type.elem_type = TensorProto.FLOAT16

    change_model(model, file, halve)


def no_embedding(model, file):
    change_model(model, file, lambda proto: proto.graph.output.pop())


def no_name(card):
    del card["labels"][1]["common_name"]


REFUSED = [
    (lambda *_: None, "does not exist"),
    (folder, "is a folder"),
    (empty, "is empty"),
    (text, "not a Fieldmark model"),
    (cut_short, "damaged"),
    (another_model, "`photo`"),
    (weights_beside, "other files"),
    (no_card, "no card"),
    (with_card("Dear bird,"), "not JSON"),
    (with_card('{"name": NaN}'), "not JSON"),
    (with_card("[" * 100_000), "not JSON"),
    (with_card("[1]"), "JSON object"),
    (huge_card, "16 MiB"),
    (card_without("schema"), "fieldmark migrate"),
    (changed(lambda card: card.update(schema=3)), "schema 3"),
    *((card_without(key), f"`{key}`") for key in model_file.REQUIRED),
    (changed(lambda card: card.update(version=2)), "`version`"),
    (changed(no_name), "label 2"),
    (changed(lambda card: card["labels"].pop()), "5 labels.* 6 classes"),
    (changed(lambda card: card["preparation"].update(size=72)), "72 pixels.* 64"),
    (changed(lambda card: card["preparation"].update(filter="moire")), "`filter`"),
    (changed(lambda card: card.update(thresholds=[0.5])), "`thresholds`"),
    (changed(lambda card: card.update(thresholds={"unknown": 0.5})), "`thresholds`"),
    (changed(lambda card: card.update(thresholds={"unknown": {}})), "`thresholds`"),
    (changed(lambda card: card.update(finder="blobs 1")), "`finder`"),
    (changed(lambda card: card.update(finder={"name": "blobs"})), "`finder`"),
    (changed(lambda card: card["drawn_photo"].clear()), "probability"),
    (another_type, "`photo`"),
    (half_an_output, "`unknown`"),
    (no_embedding, "`embedding`"),
]


@pytest.mark.parametrize(("plant", "reason"), REFUSED)
def test_a_file_that_cannot_be_served_is_refused_in_one_line(model, file, plant, reason, capfd):
    plant(model, file)
    with pytest.raises(ModelError, match=reason) as caught:
        Classifier(file, 1)
    assert isinstance(caught.value, UserError)
    assert re.fullmatch(r"[^\n]+ [^\n]+\.", str(caught.value))
    assert capfd.readouterr() == ("", "")


def test_a_file_without_read_access_is_refused_with_the_reason(model, file, monkeypatch):
    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    file.write_bytes(model.read_bytes())
    monkeypatch.setattr(model_file.Path, "open", forbidden)
    with pytest.raises(ModelError, match=r"birds.onnx .*Permission denied"):
        Classifier(file, 1)


def test_unfamiliar_keys_of_a_card_are_kept(model, file):
    change_card(model, file, lambda card: card.update(moon="full"))
    assert Classifier(file, 1).card["moon"] == "full"
    assert "moon" not in json.loads(card_entry(onnx.load(model)).value)
