"""Files of TorchScript and torch.export hold the same model, and pass the same gate."""

import copy
import json
import re
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch

from birds import drawn, model_file
from birds.api import create_app
from birds.classifier import Classifier, ModelError
from birds.finder import Finder
from birds.identifier import Identifier
from export import finder, formats, torch_files
from export.exporter import export_model
from export.formats import FORMATS, convert_graph, load_runtime
from export.graph import Graph
from export.rebuild import rebuild_model
from export.weights_dtype import SMALL
from fieldmark.errors import ExportError, GateError, RunError
from fieldmark.evaluation.uncertainty import UncertaintyOptions
from fieldmark.finder.boxes import FinderGraph
from fieldmark.finder.finder_run import (
    FinderRun,
    create_detector,
    load_exported_detector,
    save_weights,
)
from fieldmark.network.ensemble import join_networks
from fieldmark.network.network import Network
from fieldmark.recipe import FinderRecipe
from fieldmark.run_folder import FORMAT_SUFFIXES
from tests import networks  # noqa: F401
from tests.command_line import run_command
from tests.conftest import FACTS, LABELS, ROOT, SIZE, create_network

pytestmark = pytest.mark.slow
BIRDS = np.stack([drawn.draw_bird(name, 1, SIZE, SIZE) for name in drawn.SPECIES])
TINY = {"size": 96, "scenes": 8, "valid_scenes": 8, "batch_size": 8, "weights": "random"}
ENDINGS = sorted(FORMAT_SUFFIXES.values())
PLUMAGES = {f"{label} ({sex})": label for label in LABELS for sex in ("female", "male")}


@pytest.fixture(scope="module")
def finder_run(tmp_path_factory):
    """Export a finder, not trained, whose scores vary, by the command; return the folder."""
    run, recipe = FinderRun(tmp_path_factory.mktemp("finder") / "finder"), FinderRecipe(**TINY)
    detector = create_detector(recipe)
    photos = np.stack([drawn.draw_bird(name, 2, 96, 96) for name in drawn.SPECIES])
    with torch.no_grad():
        torch.nn.init.normal_(detector.output.weight, std=0.3)
        detector.output.weight[0] *= 10
        for _ in range(20):
            detector.train()(torch.from_numpy(photos))  # running statistics
    run.folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(run.folder.parent)
        run.begin(recipe, pd.DataFrame(columns=["path"]))
        patch.setattr(finder, "GATE_SCENES", 4)
        save_weights(detector, run.best_file, "fp32", None)
        run.history_file.write_text("epoch,kept\n1,True\n")
        result = run_command("export", run.folder, "--format", "pt2")
    assert result.exit_code == 0, result.stderr
    assert "passed the gate" in result.stdout
    return run.folder


@pytest.fixture(scope="module")
def exported(run, table, folder, finder_run, tmp_path_factory):
    """Export the session's network with that finder in all formats; return the folder."""
    out = tmp_path_factory.mktemp("formats")
    options = UncertaintyOptions(ood_score="msp", finder=finder_run / "finder.onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_files, "GATE_PHOTOS", 4)
        export_model(Network.load(run), table, folder, FACTS, out, options, formats=list(FORMATS))
    return out


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_computes_what_the_network_does_in_batches_of_any_size(ending, exported):
    classifier = torch_files.load_classifier(exported / f"birds{ending}")
    network, temperature = Network.load(exported), classifier.card["temperature"]
    logits, embedding = network.forward_pixels(BIRDS)
    expected = (logits / temperature).softmax(1).numpy()
    for count in (1, 2, len(BIRDS)):
        outputs = classifier.predict(BIRDS[:count])
        assert np.allclose(outputs.probability, expected[:count], atol=1e-5)
        assert np.allclose(outputs.embedding, embedding[:count], atol=1e-4)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_has_the_card_of_the_onnx_file_with_a_gate_of_its_own(ending, exported):
    card = torch_files.load_classifier(exported / f"birds{ending}").card
    onnx_card = Classifier(exported / "birds.onnx").card
    assert FORMAT_SUFFIXES[card.pop("format")] == ending
    gate, onnx_gate = card.pop("gate"), onnx_card.pop("gate")
    assert card == onnx_card
    assert gate["photos"] == onnx_gate["photos"]
    assert 0 < gate["largest_difference"] < 1e-4
    assert gate["agreement"]["value"] == 1


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_finder_beside_it_finds_the_same_in_photos_of_any_shape(ending, exported, finder_run):
    loaded = torch_files.load_finder(exported / f"finder{ending}")
    classifier = torch_files.load_classifier(exported / f"birds{ending}")
    assert Identifier(classifier, loaded).mismatch is None
    gate = loaded.card["gate"]
    assert gate["photos"] == 4 + len(drawn.awkward_photos()) <= gate["boxes"]
    by_onnx, random = Finder(finder_run / "finder.onnx"), np.random.default_rng(0)
    for shape in ((1, 96, 96, 3), (3, 160, 96, 3), (2, 96, 256, 3)):
        photos = random.integers(256, size=shape).astype(np.uint8)
        for values, expected in zip(loaded.predict(photos), by_onnx.predict(photos), strict=True):
            assert np.allclose(values, expected, atol=1e-3)


def test_the_names_of_input_and_outputs_are_in_each_file(exported):
    names = set(model_file.OUTPUTS)
    program = torch.export.load(exported / "birds.pt2")
    assert program.call_spec.in_spec is not None
    assert list(program.graph_signature.user_inputs) == ["photo"]
    outputs = program.module()(torch.from_numpy(BIRDS))
    assert outputs.keys() == names
    with formats.torchscript.ignore_deprecation():
        script = torch.jit.load(exported / "birds.torchscript.pt")
    assert [argument.name for argument in script.forward.schema.arguments] == ["self", "photo"]
    assert script(torch.from_numpy(BIRDS)).keys() == names


@pytest.mark.parametrize("name", [f"{n}{end}" for n in ("birds", "finder") for end in ENDINGS])
def test_a_file_does_not_reveal_the_machine_that_wrote_it(name, exported):
    with zipfile.ZipFile(exported / name) as archive:
        content = b"".join(map(archive.read, archive.namelist()))
    for place in (str(ROOT), "site-packages", "stack_trace"):
        assert place.encode() not in content


@pytest.mark.parametrize("format", FORMATS)
def test_weights_that_are_exact_in_float16_take_half_the_space(format, network, tmp_path):
    sizes = []
    for factor in (1, 1.0001):
        with torch.no_grad():
            for weight in network.model.parameters():
                weight.mul_(factor)
        convert(format, network, tmp_path / "file")
        sizes.append((tmp_path / "file").stat().st_size)
    counts = [weight.numel() for weight in network.backbone.parameters()]
    large = sum(count for count in counts if count >= SMALL)
    assert large > 0.7 * sum(counts)
    assert sizes[1] - sizes[0] == pytest.approx(2 * large, rel=0.2)  # the casts take some


def convert(format, network, path):
    """Write a network in a format; return its graph, and what loads from the file."""
    graph, size = Graph(network, 1.5), network.preparation.size
    photo = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    axes = {0: torch.export.Dim("N")}
    convert_graph(format, graph, list(model_file.OUTPUTS), photo, axes)({}, path)
    return graph


def create_joined(network):
    return join_networks([network, create_network("random", "test_resnet")], [0.5, 2.0])


NETWORKS = {
    "swin": lambda network: create_network("random", "little_swin"),
    "no map": lambda network: create_network("random", "test_vit"),
    "plumages": lambda network: create_network("random", labels=PLUMAGES),
    "ensemble": create_joined,
}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", NETWORKS)
def test_other_networks_become_files_of_each_format(kind, format, network, tmp_path):
    file = tmp_path / f"birds{FORMAT_SUFFIXES[format]}"
    graph = convert(format, NETWORKS[kind](network), file)
    runtime, metadata = load_runtime(file)
    assert json.loads(metadata["card"]) == {}
    for count in (1, 2, len(BIRDS)):
        outputs = runtime.run(list(model_file.OUTPUTS), {"photo": BIRDS[:count]})
        with torch.no_grad():
            expected = graph(torch.from_numpy(BIRDS[:count]))
        for values, reference in zip(outputs, expected, strict=True):
            assert np.allclose(values, reference, atol=1e-4)


def change_temperature(module):
    module.outputs.temperature *= 1.1


def change_weight(module):
    module.outputs.class_weight[0] += 0.5


@pytest.mark.parametrize(
    ("format", "change"), [("torchscript", change_temperature), ("pt2", change_weight)]
)
def test_nothing_is_written_unless_every_file_passes(
    format, change, network, table, folder, tmp_path, monkeypatch
):
    store = formats.store_as_half

    def store_changed(module):
        stored = store(module)
        change(stored)
        return stored

    monkeypatch.setattr(formats, "store_as_half", store_changed)
    # the card's own photo would show it before the gate does
    monkeypatch.setattr(Classifier, "check_outputs", lambda *_: None)
    options = UncertaintyOptions(ood_score="msp")
    with pytest.raises(GateError, match="no model file was written"):
        export_model(network, table, folder, FACTS, tmp_path, options, formats=[format])
    assert [path.name for path in tmp_path.iterdir()] == ["gate.csv"]


@pytest.mark.parametrize("format", FORMATS)
def test_a_finder_that_differs_from_its_network_does_not_pass(
    format, finder_run, tmp_path, monkeypatch
):
    photos = drawn.awkward_photos()
    detector = load_exported_detector(finder_run / "finder.onnx")
    changed = copy.deepcopy(detector)
    with torch.no_grad():
        assert changed.output.bias is not None
        changed.output.bias[1:] += 0.05  # larger boxes
    monkeypatch.setattr(torch_files, "FinderGraph", lambda _: FinderGraph(changed))
    by_onnx = Finder(finder_run / "finder.onnx")
    # the card's own photo would show it before the gate does
    monkeypatch.setattr("birds.finder.check_recorded", lambda *_: None)
    with pytest.raises(GateError, match="other boxes"):
        torch_files.write_finder(format, detector, by_onnx, tmp_path, photos)


def test_files_of_an_earlier_export_do_not_stay_beside_a_new_one(
    exported, folder, tmp_path, monkeypatch
):
    again = tmp_path / "run"
    shutil.copytree(exported, again)
    monkeypatch.setenv("FIELDMARK_PHOTOS", str(folder))
    assert {f"birds{end}" for end in ENDINGS} < {path.name for path in again.iterdir()}
    rebuild_model(again)
    assert {path.name for path in again.iterdir()} == {
        *("birds.onnx", "birds.safetensors", "gate.csv", "recipe.yaml", "split.csv", ".lock")
    }


def test_formats_that_cannot_be_written_are_refused_at_once(
    network, table, folder, finder_file, tmp_path
):
    with pytest.raises(ExportError, match="8 bits"):
        export_model(network, table, folder, FACTS, tmp_path, weights_dtype="int8", formats=["pt2"])
    options = UncertaintyOptions(finder=finder_file)
    with pytest.raises(RunError, match=r"finder\.safetensors beside it"):
        export_model(network, table, folder, FACTS, tmp_path, options, formats=["pt2"])


@pytest.mark.parametrize("name", [f"{n}{end}" for n in ("birds", "finder") for end in ENDINGS])
def test_a_file_is_described_but_not_served(name, exported):
    result = run_command("describe", exported / name)
    assert result.exit_code == 0, result.stderr
    assert name in result.stdout
    app = create_app(exported / name)
    assert f"{name} is not an ONNX file" in app.state.fault


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_that_is_none_of_ours_is_reported(ending, exported, tmp_path):
    file = tmp_path / f"birds{ending}"
    with pytest.raises(ModelError, match="does not exist"):
        torch_files.load_card(file)
    file.write_bytes((exported / file.name).read_bytes()[:-100])
    with pytest.raises(ModelError, match="damaged"):
        torch_files.load_card(file)
    file.write_bytes((exported / f"finder{ending}").read_bytes())
    with pytest.raises(ModelError, match="not a Fieldmark model"):
        torch_files.load_classifier(file)


def test_the_run_of_a_finder_is_exported_by_the_command(finder_run):
    names = {path.name for path in finder_run.iterdir()}
    assert {"finder.onnx", "finder.pt2", "finder.safetensors"} < names
    assert not {"finder.torchscript.pt", "exported"} & names
    loaded = torch_files.load_finder(finder_run / "finder.pt2")
    assert loaded.sha256 == Finder(finder_run / "finder.onnx").sha256


def test_the_documented_example_classifies_a_photo(exported, tmp_path, monkeypatch):
    text = (ROOT / "docs/training.md").read_text(encoding="utf-8").split("## Other file formats")[1]
    code = text.split("```python\n")[1].split("```")[0].replace("224", str(SIZE))
    (tmp_path / "bird.jpg").write_bytes(drawn.encode_photo(BIRDS[2]))
    for file in exported.glob("birds.*"):
        (tmp_path / file.name).symlink_to(file)
    monkeypatch.chdir(tmp_path)
    names, results = {}, []
    with formats.torchscript.ignore_deprecation():
        for part in re.split(r"(?<=\n)\n(?=script|program)", code):
            exec(part, names)  # noqa: S102
            results.append(names.get("outputs"))
    expected = Classifier(exported / "birds.onnx").predict(names["photo"].numpy())
    for outputs in results[1:]:
        assert np.allclose(outputs["probability"].detach(), expected.probability, atol=1e-5)
    assert len(results) == 3
