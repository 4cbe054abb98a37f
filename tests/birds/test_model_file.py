"""A file that can't be served is refused with one sentence, wherever it was damaged or changed."""

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
from birds.model_file import CHECKSUM_LENGTH, add_checksum
from tests.conftest import SIZE
from tests.surgery import entry, operate, rewrite


@pytest.fixture
def file(tmp_path):
    return tmp_path / "birds.onnx"


def answer(path):
    photos = np.stack([drawn.draw_bird(name, 1, SIZE, SIZE) for name in drawn.SPECIES])
    return Classifier(path, 1).predict(photos)


def flipped(content: bytes, place: int, bit: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


def test_a_sealed_file_is_the_same_model_to_everybody(model, file):
    plain = model.read_bytes()
    file.write_bytes(add_checksum(plain))
    for one, other in zip(answer(model), answer(file), strict=True):
        assert np.array_equal(one, other)
    read, expected = onnx.load(file), onnx.load_from_string(plain)
    onnx.checker.check_model(read)
    assert read.graph == expected.graph
    assert read.metadata_props == expected.metadata_props


@pytest.mark.parametrize("seed", range(3))
def test_a_sealed_file_with_a_flipped_bit_is_refused_or_answers_exactly_alike(model, file, seed):
    content, chance = add_checksum(model.read_bytes()), random.Random(seed)
    places = [*range(CHECKSUM_LENGTH), *(chance.randrange(len(content)) for _ in range(200))]
    right, refused = answer(model), 0
    for place in places:
        file.write_bytes(flipped(content, place, chance.randrange(8)))
        try:
            found = answer(file)
        except ModelError:
            refused += 1
        else:
            assert all(np.array_equal(a, b) for a, b in zip(found, right, strict=True)), place
    assert refused >= len(places) - CHECKSUM_LENGTH


def test_a_sealed_file_is_refused_wherever_it_was_cut(model, file):
    content = add_checksum(model.read_bytes())
    for place in [
        *range(CHECKSUM_LENGTH + 1),
        *range(CHECKSUM_LENGTH + 1, len(content), 997),
        len(content) - 1,
    ]:
        file.write_bytes(content[:place])
        with pytest.raises(ModelError):
            Classifier(file, 1)


FUZZ = """
import random, sys
from pathlib import Path
from birds.classifier import Classifier, ModelError
content, file, chance = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]), random.Random(0)
for turn in range(80):
    bad = bytearray(content)
    for _ in range(chance.choice((1, 1, 4, 32))):
        bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
    file.write_bytes(bad if turn % 2 else content[: chance.randrange(len(content))])
    try:
        Classifier(file, 1)
    except ModelError as error:
        print(error)
    else:
        print("loaded")
"""


def test_a_file_without_a_seal_may_be_damaged_anywhere_and_ends_no_process(model, file):
    """Saved by another tool, say: what differs on the drawn photo is refused all the same."""
    plain = operate(model, file.with_name("plain.onnx"), lambda proto: None)
    command = [sys.executable, "-c", FUZZ, str(plain), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    told = done.stdout.splitlines()
    assert len(told) == 80
    assert {*told[::2]} & {"loaded"} == set()
    assert {"loaded"} < {*told[1::2]}


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
    operate(model, file, lambda proto: proto.ClearField("metadata_props"))


def with_card(value: str):
    return lambda model, file: operate(
        model, file, lambda proto: setattr(entry(proto), "value", value)
    )


def card_without(name: str):
    return lambda model, file: rewrite(model, file, lambda card: card.pop(name))


def changed(change):
    return lambda model, file: rewrite(model, file, change)


def huge_card(model, file):
    rewrite(model, file, lambda card: card.update(notes=" " * model_file.MAX_CARD))


def another_type(model, file):
    def cast(proto):
        proto.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
        for node in proto.graph.node:
            node.input[:] = ["uint8" if name == "photo" else name for name in node.input]
        node = helper.make_node("Cast", ["photo"], ["uint8"], to=TensorProto.UINT8)
        proto.graph.node.insert(0, node)

    operate(model, file, cast)


def half_an_output(model, file):
    def halve(proto):
        for node in proto.graph.node:
            node.output[:] = ["whole" if name == "unknown" else name for name in node.output]
        proto.graph.node.append(
            helper.make_node("Cast", ["whole"], ["unknown"], to=TensorProto.FLOAT16)
        )
        proto.graph.output[1].type.tensor_type.elem_type = TensorProto.FLOAT16

    operate(model, file, halve)


def no_embedding(model, file):
    operate(model, file, lambda proto: proto.graph.output.pop())


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
    *((card_without(key), f"`{key}`") for key in model_file.REQUIRED),
    (changed(lambda card: card.update(version=2)), "`version`"),
    (changed(no_name), "label 2"),
    (changed(lambda card: card["labels"].pop()), "5 labels.* 6 classes"),
    (changed(lambda card: card["preparation"].update(size=72)), "72 pixels.* 64"),
    (changed(lambda card: card["preparation"].update(filter="moire")), "`filter`"),
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
    assert re.fullmatch(r"[^\n]+ [^\n]+\.", str(caught.value))
    assert capfd.readouterr() == ("", "")


def test_a_file_that_may_not_be_read_says_so(model, file, monkeypatch):
    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    file.write_bytes(model.read_bytes())
    monkeypatch.setattr(model_file.Path, "open", forbidden)
    with pytest.raises(ModelError, match=r"birds.onnx .*Permission denied"):
        Classifier(file, 1)


def test_an_entry_that_nobody_foresaw_is_kept(model, file):
    rewrite(model, file, lambda card: card.update(moon="full"))
    assert Classifier(file, 1).card["moon"] == "full"
    assert "moon" not in json.loads(entry(onnx.load(model)).value)
