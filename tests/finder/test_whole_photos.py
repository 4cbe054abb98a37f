"""Boxes of whole photos: from a CSV, or from a teacher."""

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from birds import drawn
from fieldmark.errors import DatasetError, WeightsError
from fieldmark.finder.dataset import TRAIN, VALID
from fieldmark.finder.sources import load_sources
from fieldmark.finder.teacher import BIRD, INPUT, Teacher, are_parts, find_boxes, tiles
from fieldmark.finder.whole_photos import COLUMNS, read_boxes
from fieldmark.recipe import FinderRecipe


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Write eight whole photos, the first of them held by a phone upside down."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate([*drawn.SPECIES, *list(drawn.SPECIES)[:2]]):
        pixels = drawn.draw_bird(name, number, 200, 100)
        data = drawn.encode_rotated(3, pixels) if number == 0 else drawn.encode_photo(pixels)
        path = tmp_path / "whole" / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "whole"


def write_boxes(folder, *rows: tuple):
    file = folder.parent / "boxes.csv"
    pd.DataFrame(rows, columns=COLUMNS).to_csv(file, index=False)
    return file


def test_every_fourth_whole_photo_is_held_out_and_those_without_boxes_are_left_out(folder):
    rows = [(f"{number}.jpg", 40, 10, 80, 60) for number in (0, 1, 2, 4, 5)]
    file = write_boxes(folder, *rows, ("0.jpg", 0, 0, 20, 20))
    recipe = FinderRecipe(whole_photos=str(folder), boxes=str(file), size=96)
    boxes = find_boxes(recipe)
    train, valid = (load_sources(recipe, boxes, part) for part in (TRAIN, VALID))
    assert (len(train.wholes), len(valid.wholes)) == (3, 2)
    photo, boxes = valid.wholes[0]
    assert photo.size == (192, 96)  # twice the input's longer side
    assert np.allclose(boxes[0], np.array([40, 10, 120, 70]) * 0.96)
    assert len(boxes) == 2
    upright = np.asarray(Image.fromarray(drawn.draw_bird(next(iter(drawn.SPECIES)), 0, 200, 100)))
    assert abs(np.asarray(photo.resize((200, 100))).astype(int) - upright).mean() < 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,left,top,width\n0.jpg,1,2,3", "no column `height`"),
        ("path,left,top,width,height\n0.jpg,1,2,3,4\n1.jpg,1,2,x,4", "line 3 has no valid box"),
        ("path,left,top,width,height\n0.jpg,1,2,0,4", "line 2 has no valid box"),
        ("path,left,top,width,height\nnone.jpg,1,2,3,4", r"No path in .*boxes\.csv is a photo"),
    ],
)
def test_a_wrong_table_of_boxes_is_reported_with_its_place(folder, text, message):
    file = folder.parent / "boxes.csv"
    file.write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_boxes(file, str(folder))


def write_teacher(path, x: float, y: float, side: float, score: float):
    """Write a network with YOLOX's output that finds one bird, in the same place of any input."""
    count = sum((INPUT // stride) ** 2 for stride in (8, 16, 32))
    output = np.zeros((1, count, 85), np.float32)
    column, row = int(x // 8), int(y // 8)
    output[0, row * (INPUT // 8) + column, :6] = (
        *(x / 8 - column, y / 8 - row, *np.log([side / 8, side / 8])),
        *(1.0, 0.0),
    )
    output[0, row * (INPUT // 8) + column, 5 + BIRD] = score
    nodes = [
        helper.make_node("ReduceMax", ["images"], ["highest"], keepdims=0),
        helper.make_node("Mul", ["highest", "zero"], ["nothing"]),
        helper.make_node("Add", ["rows", "nothing"], ["output"]),
    ]
    constants = [numpy_helper.from_array(output, "rows")]
    constants.append(numpy_helper.from_array(np.float32(0), "zero"))
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, INPUT, INPUT])
    found = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, count, 85])
    graph = helper.make_graph(nodes, "yolox", [images], [found], constants)
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)


def test_a_teacher_finds_a_bird_in_the_photo_and_smaller_ones_in_its_tiles(folder):
    write_teacher(folder.parent / "teacher.onnx", x=208, y=104, side=104, score=0.8)
    recipe = FinderRecipe(whole_photos=str(folder), teacher=str(folder.parent / "teacher.onnx"))
    boxes = find_boxes(recipe)
    rows = boxes[boxes["path"] == "1.jpg"][COLUMNS[1:]].to_numpy()
    scale = 200 / INPUT  # of the whole photo
    assert np.allclose(rows[rows[:, 2].argmax()], np.array([156, 52, 104, 104]) * scale, atol=0.1)
    left, top, side = next(tiles(200, 100))
    in_tile = np.array([156, 52, 104, 104]) * side / INPUT + [left, top, 0, 0]
    assert (abs(rows - in_tile).max(1) < 0.1).any()
    whole = np.array([156, 52, 260, 156]) * scale
    in_tiles = [
        np.array([156, 52, 260, 156]) * side / INPUT + [left, top, left, top]
        for left, top, side in tiles(200, 100)
    ]
    parts = are_parts(np.array([whole, *in_tiles]), np.full(1 + len(in_tiles), 0.8))
    assert 0 < parts.sum() < len(in_tiles)
    assert len(rows) == (~parts).sum()


def test_a_part_of_a_bird_in_a_tile_is_not_a_bird_of_its_own():
    bird, head, beside = (0, 0, 100, 80), (60, 0, 95, 30), (90, 0, 150, 80)
    boxes = np.array([bird, head, beside], float)
    assert are_parts(boxes, np.array([0.6, 0.9, 0.5])).tolist() == [False, True, False]
    assert not are_parts(boxes, np.array([0.35, 0.9, 0.5])).any()  # a doubtful box hides nothing


def test_what_a_teacher_finds_is_used_only_above_its_least_score(folder):
    write_teacher(folder.parent / "teacher.onnx", x=208, y=104, side=104, score=0.2)
    teacher = Teacher(folder.parent / "teacher.onnx")
    assert len(teacher.find(Image.new("RGB", (200, 100)))[0]) == 0


def test_a_file_that_is_no_teacher_is_reported(folder):
    with pytest.raises(WeightsError, match=r"`teacher`.*0\.jpg is no ONNX file"):
        Teacher(folder / "0.jpg")
