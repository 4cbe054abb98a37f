"""A finder without training: a real model file whose graph finds blobs on an even ground."""

import json
from pathlib import Path

import numpy as np
import onnx
import PIL
from onnx import TensorProto, helper, numpy_helper

from birds import drawn, finder
from birds.sessions import create_session

SIZE, STRIDE = 320, 8  # pixels: the longer side of the input, and of the graph's cells
BLOBS = (3, 5, 7, 11, 15, 21, 29)  # sides of blobs in cells
RING = 2  # cells around a blob that must be like the ground
THRESHOLD = 0.4
DIFFERENT = 0.15  # difference from the mean colour that is certainly not the ground
GROWTH = 0.25  # exponent of a blob's side in its score: large blobs go before their parts


class Graph:
    """Collects the nodes of a graph."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes) -> str:
        """Add a node; return the name of its output."""
        output = output or f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, value, dtype=np.float32) -> str:
        """Add a constant; return its name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def average(self, name: str, side: int) -> str:
        """Return the mean of the cells in a square around each cell."""
        pads = [side // 2] * 4
        return self.add("AveragePool", name, kernel_shape=[side, side], pads=pads)


def build_graph() -> onnx.ModelProto:
    """Return a graph with a finder's input and outputs.

    The difference of each cell from the mean colour of the photo is compared, for squares of some
    sizes, with that of the ring around the square; the size with the largest contrast is the box.
    """
    graph = Graph()
    floats = graph.add("Cast", "photo", to=TensorProto.FLOAT)
    channels = graph.add("Transpose", floats, perm=[0, 3, 1, 2])
    scaled = graph.add("Div", channels, graph.constant(255))
    mean = graph.add("ReduceMean", scaled, graph.constant([2, 3], np.int64))
    difference = graph.add("Abs", graph.add("Sub", scaled, mean))
    difference = graph.add("ReduceMax", difference, graph.constant([1], np.int64))
    difference = graph.add("Div", difference, graph.constant(DIFFERENT))
    difference = graph.add("Clip", difference, graph.constant(0), graph.constant(1))
    cells = graph.add(
        "AveragePool", difference, kernel_shape=[STRIDE, STRIDE], strides=[STRIDE, STRIDE]
    )
    contrasts = []
    for side in BLOBS:
        outer, area, whole = side + 2 * RING, side**2, (side + 2 * RING) ** 2
        inside = graph.average(cells, side)
        total = graph.add("Mul", graph.average(cells, outer), graph.constant(whole))
        blob = graph.add("Mul", inside, graph.constant(area))
        ring = graph.add("Sub", total, blob)
        ring = graph.add("Div", ring, graph.constant(whole - area))
        weight = graph.constant((side / BLOBS[0]) ** GROWTH)
        contrasts.append(graph.add("Mul", graph.add("Sub", inside, ring), weight))
    stacked = graph.add("Concat", *contrasts, axis=1)
    best = graph.add("ReduceMax", stacked, graph.constant([1], np.int64))
    peak = graph.add("MaxPool", best, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    is_peak = graph.add("Cast", graph.add("Equal", best, peak), to=TensorProto.FLOAT)
    score = graph.add("Mul", best, is_peak)
    score = graph.add("Clip", score, graph.constant(0), graph.constant(1))
    channel = graph.constant([1], np.int64)
    graph.add("Squeeze", score, channel, output="score")
    sides = graph.constant([STRIDE * side for side in BLOBS])
    half = graph.add("Gather", sides, graph.add("ArgMax", stacked, axis=1, keepdims=0))
    half = graph.add("Div", half, graph.constant(2))
    ones = graph.add("Add", graph.add("Mul", half, graph.constant(0)), graph.constant(1))
    corners = []
    for sign in (-1, 1):
        for axis in (2, 1):  # columns, then rows
            count = graph.add("CumSum", ones, graph.constant(axis, np.int64))
            centre = graph.add("Sub", count, graph.constant(0.5))
            centre = graph.add("Mul", centre, graph.constant(STRIDE))
            corner = graph.add("Add", centre, graph.add("Mul", half, graph.constant(sign)))
            corners.append(graph.add("Unsqueeze", corner, graph.constant([3], np.int64)))
    graph.add("Concat", *corners, axis=3, output="box")
    photo = helper.make_tensor_value_info("photo", TensorProto.UINT8, ["N", "H", "W", 3])
    outputs = [
        helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N", "h", "w"]),
        helper.make_tensor_value_info("box", TensorProto.FLOAT, ["N", "h", "w", 4]),
    ]
    proto = helper.make_graph(graph.nodes, "finder", [photo], outputs, graph.constants)
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(proto, opset_imports=opset, ir_version=10)


def write_finder(path: Path, **changes) -> Path:
    """Write a finder's model file; `changes` replace entries of its card."""
    proto = build_graph()
    onnx.save(proto, path)
    recorded = create_session(path, 1).run(list(finder.OUTPUTS), {"photo": finder.drawn_input()})
    card = {
        **{"kind": "finder", "schema": finder.SCHEMA, "name": "blobs", "version": "1"},
        **{"size": SIZE, "stride": STRIDE, "threshold": THRESHOLD, "licence": "MIT"},
        "preparation": {"filter": "bilinear", "sha256": {}, "pillow": PIL.__version__},
        "drawn_photo": {
            name: output[0].round(4).tolist()
            for name, output in zip(finder.OUTPUTS, recorded, strict=True)
        },
        **{"metrics": {}, "gate": {}, "recipe": {}, "versions": {}},
    }
    entry = proto.metadata_props.add()
    entry.key, entry.value = "card", json.dumps(card | changes)
    onnx.save(proto, path)
    return path


GROUND = (120, 150, 110)
Place = tuple[str, int, int, int]  # a species, and left, top and side of its square
TWO_BIRDS = [("Night_Inkling", 80, 240, 100), ("Ruby_capped_Inkling", 500, 60, 100)]


def draw_scene(places: list[Place], width: int = 720, height: int = 480) -> np.ndarray:
    """Draw birds on an even ground where a finder of `write_finder` finds them, uint8 [h, w, 3]."""
    scene = np.full((height, width, 3), GROUND, np.uint8)
    for name, left, top, side in places:
        scene[top : top + side, left : left + side] = drawn.draw_bird(name, 0, side, side)
    return scene
