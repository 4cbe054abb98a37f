"""The commands behind the figures run; what they measure is for a quiet machine."""

import json
import os
import subprocess
import sys

import onnx
import pytest
from PIL import Image

from benchmarks import field, train
from benchmarks.heatmap import remove_heatmap
from birds import drawn
from fieldmark.data.locations import draw_objects
from fieldmark.network.weights import resolve_weights
from tests.conftest import ROOT
from tests.finders import TWO_BIRDS, draw_scene

pytestmark = pytest.mark.slow


def run_module(name: str, *options, **environment) -> str:
    """Run a benchmark as its own process, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *map(str, options)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {key: str(value) for key, value in environment.items()},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows_of(output: str) -> dict[str, list[str]]:
    """Return the rows of printed Markdown tables by their first cell."""
    lines = [line for line in output.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in rows}


def test_the_function_is_measured_beside_the_model_without_http(tmp_path):
    out = tmp_path / "serve.json"
    options = ["--seconds", "0.1", "--rounds", "1", "--clients", "1", "--clients", "2"]
    output = run_module("serve", *options, "--server", "this function", "--out", out)
    figures = json.loads(out.read_text())
    function, bound = figures.pop("this function"), figures.pop("model in a loop, without HTTP")
    assert not figures
    for kind in ("small", "12 megapixels"):
        for count in (1, 2):
            assert 0 < function[f"{kind}, p50 of {count}"] <= function[f"{kind}, p99 of {count}"]
        assert bound[f"{kind}, per second"] > 0
    assert function["cold start"] > 0
    assert rows_of(output)["this function"][-1] == f"{function['cold start']:.2f}"


def test_looking_for_the_bird_is_measured_beside_the_middle_square(finder_file):
    output = run_module("crop", "--count", 1, FIELDMARK_FINDER=finder_file)
    rows = [line.split("|")[1:3] for line in output.splitlines() if " megapixels " in line]
    one, further = (int(looks) for _, looks in rows)
    assert one == 1 < further <= 4
    assert float(rows_of(output)["first answer, seconds after the start"][0]) > 0


def test_metrics_and_costs_of_a_model_are_measured(run, folder, tmp_path):
    places = {"FIELDMARK_PHOTOS": folder, "FIELDMARK_NOT_BIRDS": draw_objects(tmp_path, 20)}
    rows = rows_of(run_module("model", run, **places))
    assert rows["first prediction right (top-1)"][-1] == "12"
    # 12 birds, and of 20 photos those on which no bird is pasted
    assert 12 < int(rows["photos without a bird: AUROC of `unknown`"][-1]) < 32
    assert float(rows["milliseconds a photo, 1 thread"][0].split()[0]) > 0


def test_accuracy_is_measured_for_birds_of_two_sizes(run, folder, model):
    options = ["--model", model, "--split", run / "split.csv", "--scale", 0.5]
    rows = rows_of(run_module("accuracy", folder, *options))
    assert rows["first prediction right, as they are"][-1] == "12"
    assert len([name for name in rows if "0.5 of its size" in name]) == 2


def test_small_birds_whole_photos_and_no_birds_are_measured_with_and_without_a_finder(
    run, folder, finder_file, tmp_path, monkeypatch, capsys
):
    places = {"FIELDMARK_PHOTOS": folder, "FIELDMARK_FINDER": finder_file}
    places["FIELDMARK_NOT_BIRDS"] = draw_objects(tmp_path / "things", 40)
    for name, place in places.items():
        monkeypatch.setenv(name, str(place))
    whole = tmp_path / "whole" / "Night_Inkling"
    whole.mkdir(parents=True)
    (whole / "one.png").write_bytes(drawn.encode_photo(draw_scene(TWO_BIRDS), "PNG"))
    (whole / "known.png").write_bytes((whole / "one.png").read_bytes())
    listed = tmp_path / "overlap.csv"
    listed.write_text("photo,crop,correlation\nknown,0001,0.999\n")
    field.main(run, whole.parent, whole, listed, photos=4)
    rows = rows_of(capsys.readouterr().out)
    assert rows["crops as they are"][0] == "4"
    pasted = [name for name in rows if name.startswith("pasted at ")]
    assert len(pasted) == 10
    assert all(rows[name][1].count("/") == 1 for name in pasted)
    assert rows["whole photos"][0] == "1"  # the listed one is left out
    assert rows["other species"][0] == "2"
    assert rows["no bird"][1] == ""
    assert "(" in rows["no bird"][2]


def test_whole_photos_of_known_crops_are_listed(tmp_path, finder_file):
    """One of two crops, squeezed to a square, is a part of a whole photo."""
    scene = Image.fromarray(draw_scene(TWO_BIRDS))
    _, left, top, side = TWO_BIRDS[0]
    crop = scene.crop((left - 10, top - 10, left + side + 10, top + side)).resize((90, 90))
    for name, image in (("whole/A/scene", scene), ("crops/A/same", crop)):
        file = tmp_path / f"{name}.jpg"
        file.parent.mkdir(parents=True)
        file.write_bytes(drawn.encode_photo(image, quality=95))
    other = drawn.draw_bird("Green_Inkling", 3, 90, 90)
    (tmp_path / "crops/A/other.jpg").write_bytes(drawn.encode_photo(other))
    out = tmp_path / "overlap.csv"
    options = [tmp_path / "whole", tmp_path / "crops", "--finder", finder_file, "--out", out]
    assert "1 of 1 photos" in run_module("overlap", *options)
    assert out.read_text().splitlines()[1].startswith("scene,same,0.9")


def test_number_formats_of_weights_are_compared_in_one_table(run, folder):
    rows = rows_of(run_module("precision", run, "--rounds", 2, FIELDMARK_PHOTOS=folder))
    sizes = [float(rows[name][0]) for name in ("fp32", "fp16, the default", "int8")]
    assert sizes == sorted(sizes, reverse=True)
    assert rows["fp32"][2].endswith("(1.00)")
    assert rows["fp32"][-1] == rows["fp16, the default"][-1] == "passed"
    assert rows["fp16, the default"][4].startswith("0.00 (-")


def test_the_heat_map_is_measured_against_a_model_without_it(model):
    whole = onnx.load(model)
    rest = remove_heatmap(whole)
    assert [output.name for output in rest.graph.output] == ["probability", "unknown", "embedding"]
    assert len(rest.graph.node) < len(whole.graph.node)
    assert "ArgMax" not in {node.op_type for node in rest.graph.node}  # the class of the map
    rows = rows_of(run_module("heatmap", "--model", model, "--pairs", 9))
    assert rows["additional time of the heat map's nodes"][1] == "9 pairs"


def test_learning_curves_and_orders_of_labelling_are_measured(run, folder, weights):
    places = {"FIELDMARK_PHOTOS": folder, "FIELDMARK_WEIGHTS": weights}
    rows = rows_of(run_module("learning_curves", run, "--repeats", 1, **places))
    (gain,) = (row for name, row in rows.items() if name.startswith("gain by"))
    assert gain[1] == "72 photos, 6 species"
    rows = rows_of(run_module("active_learning", run, "--seeds", 1, **places))
    assert rows["random"][-2:] == ["calibration", "12, 1 seeds"]
    assert rows["typical: more than random"][0][0] in "+-"


def test_ways_to_train_are_measured_side_by_side(tmp_path, folder, weights):
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(
        f"photos: {folder}\nweights: {weights}\narch: test_efficientnet\nsize: 64\n"
        "learning_rate: 0.001\n"
        "batch_size: 8\nfrozen_epochs: 2\nfrozen_learning_rate: 0.01\nepochs: 1\nvalid_share: 0.2\n"
        "calibration_share: 0.2\n"
    )
    options = ["--recipe", recipe, "--out", tmp_path, "--epochs", "1", "--only-recipe"]
    for way in ("frozen", "probe", "quickest", "no-teacher"):
        options += ["--way", way]
    output = run_module("train", *options)
    found = json.loads((tmp_path / "train.json").read_text())
    frozen, probe, quickest, ours = found.values()
    assert len(frozen["points"]) == 6  # three epochs of the head, three of everything
    assert len(probe["points"]) == 1
    assert len(ours["points"]) == 4  # the head, an epoch, the best of them, the model file
    assert quickest["points"][-1][0] == pytest.approx(sum(quickest["parts"].values()), abs=1)
    assert list(ours["parts"]) == ["survey", "decode", "frozen", "fine-tuning", "file"]
    for way in found.values():
        times = [seconds for seconds, _ in way["points"]]
        assert times == sorted(times)
        assert all(0 <= value <= 1 for _, value in way["points"])
    assert set(ours["epochs"][0]) >= {"data", "augment", "forward", "loss", "backward", "step"}
    assert "n = 12 photos" in output
    assert len(rows_of(output)["the recipe without its teacher, 1 epoch"]) == 6
    assert (tmp_path / "train.png").is_file()


@pytest.mark.parametrize("teacher", ["birds.safetensors", None])
def test_a_body_that_knows_birds_never_gets_another_networks_file(monkeypatch, teacher):
    monkeypatch.setenv("FIELDMARK_WEIGHTS", "imagenet.safetensors")
    monkeypatch.delenv("FIELDMARK_TEACHER", raising=False)
    if teacher:
        monkeypatch.setenv("FIELDMARK_TEACHER", teacher)
    train.select_weights("recipe")
    assert resolve_weights("pretrained") == "imagenet.safetensors"
    train.select_weights("birds")
    assert resolve_weights("pretrained") == (teacher or "pretrained")
