"""The commands behind the figures run; what they measure is for a quiet machine."""

import json
import os
import re
import subprocess
import sys

import onnx

from benchmarks.heatmap import without_map
from tests.conftest import ROOT
from training.photos import draw_things


def test_the_function_is_measured_beside_its_floor(tmp_path):
    out = tmp_path / "serve.json"
    command = [sys.executable, "-m", "benchmarks.serve", "--seconds", "0.1", "--rounds", "1"]
    command += ["--clients", "1", "2", "--only", "this function", "--out", str(out)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert set(found) == {"floor", "this function"}
    ours, floor = found["this function"], found["floor"]
    for kind in ("small", "12 megapixels"):
        for count in (1, 2):
            assert 0 < ours[f"{kind}, p50 of {count}"] <= ours[f"{kind}, p99 of {count}"]
        assert floor[f"{kind}, a second"] > 0
        assert f"| floor | {1000 * floor[f'{kind}, p50 of 1']:.1f} / " in done.stdout
        assert f"{ours[f'{kind}, a second']:.1f}" in done.stdout
    assert ours["cold start"] > 0


def test_what_a_model_promises_is_measured_and_what_it_costs(run, folder, tmp_path):
    places = {"FIELDMARK_PHOTOS": folder, "FIELDMARK_NOT_BIRDS": draw_things(tmp_path, 20)}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.model", str(run)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {name: str(place) for name, place in places.items()},
    )
    assert done.returncode == 0, done.stderr
    rows = dict(row.strip("| ").split(" | ", 1) for row in done.stdout.splitlines()[5:])
    assert rows["first answer right"].endswith("| 12")
    assert rows["photos of no bird: AUROC of `unknown`"].endswith("| 32")
    assert float(rows["milliseconds a photo, 1 thread"].split()[0]) > 0


def test_the_heat_map_is_measured_against_a_model_without_it(model):
    whole = onnx.load(model)
    rest = without_map(whole)
    assert [output.name for output in rest.graph.output] == ["probability", "unknown", "embedding"]
    assert len(rest.graph.node) < len(whole.graph.node)
    assert "ArgMax" not in {node.op_type for node in rest.graph.node}  # which class to map
    command = [sys.executable, "-m", "benchmarks.heatmap", "--model", str(model), "--pairs", "9"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert re.search(r"[+-]\d+\.\d+% \([+-][\d.]+% to [+-][\d.]+%\),\nn = 9 pairs", done.stdout)
