"""Files of TorchScript and torch.export hold the same model, and pass the same gate."""

import copy
import re
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import formats as benchmark
from birds import drawn, model_file
from birds.api import create_app
from birds.classifier import Classifier, ModelError
from birds.finder import Finder
from birds.identifier import Identifier
from export import conversion, exporter, finder, torch_files
from export.archive_card import load_card
from export.conversion import convert_finder, convert_models
from export.exporter import export_model
from export.formats import FORMATS, TorchRuntime, convert_graph, load_runtime
from export.graph import Graph
from export.model_file import export_features
from export.torch_files import load_torch_classifier, load_torch_finder, write_finder_copy
from export.torchscript import ignore_deprecation
from export.weights_dtype import SMALL
from fieldmark.errors import ExportError, GateError, RunError
from fieldmark.evaluation.uncertainty import UncertaintyOptions
from fieldmark.files import sha256_file
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
from tests.command_line import run_command, run_without
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
    first, second = result.stdout.splitlines()
    assert "passed the gate with 12 photos: scores differ by at most" in first
    assert re.search(r"finder\.pt2, \d\.\d MB, passed with 12 photos: scores", second)
    return run.folder


@pytest.fixture(scope="module")
def onnx_features(run):
    """Return the ONNX export of the session's backbone, which takes seconds."""
    return export_features(Graph(Network.load(run)).features, SIZE)


@pytest.fixture(scope="module")
def converted_finders(finder_run):
    """Return a function for each format that writes that finder."""
    detector = load_exported_detector(finder_run / "finder.onnx")
    return {format: convert_finder(format, detector) for format in FORMATS}


@pytest.fixture(scope="module")
def export_all(run, table, folder, finder_run, onnx_features, converted_finders):
    """Return a function that exports the session's network with that finder into a folder."""
    options = UncertaintyOptions(ood_score="msp", finder=finder_run / "finder.onnx")

    def export(out, names=tuple(FORMATS)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch_files, "GATE_PHOTOS", 4)
            patch.setattr(exporter, "export_features", lambda *_: onnx_features)
            patch.setattr(conversion, "convert_finder", lambda name, _: converted_finders[name])
            export_model(Network.load(run), table, folder, FACTS, out, options, formats=names)

    return export


@pytest.fixture(scope="module")
def verified():
    """Return the list of models that the gate of `exported` verified in other formats."""
    return []


@pytest.fixture(scope="module")
def exported(export_all, verified, tmp_path_factory):
    """Export in all formats; return the folder."""
    out, verify = tmp_path_factory.mktemp("formats"), torch_files.verify_identifier

    def verify_and_list(identifier, *arguments):
        verified.append(identifier)
        return verify(identifier, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_files, "verify_identifier", verify_and_list)
        export_all(out)
    return out


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_computes_what_the_network_does_in_batches_of_any_size(ending, exported):
    classifier = load_torch_classifier(exported / f"birds{ending}")
    network, temperature = Network.load(exported), classifier.card["temperature"]
    logits, embedding = network.forward_pixels(BIRDS)
    expected = (logits / temperature).softmax(1).numpy()
    for count in (1, 2, len(BIRDS)):
        outputs = classifier.predict(BIRDS[:count])
        assert np.allclose(outputs.probability, expected[:count], atol=1e-5)
        assert np.allclose(outputs.embedding, embedding[:count], atol=1e-4)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_has_the_card_of_the_onnx_file_with_a_gate_of_its_own(ending, exported):
    card = load_torch_classifier(exported / f"birds{ending}").card
    onnx_card = Classifier(exported / "birds.onnx").card
    assert FORMAT_SUFFIXES[card.pop("format")] == ending
    assert onnx_card.pop("opset")
    gate, onnx_gate = card.pop("gate"), onnx_card.pop("gate")
    assert card == onnx_card
    assert gate["photos"] == onnx_gate["photos"]
    assert 0 < gate["largest_difference"] < 1e-4
    assert gate["agreement"]["value"] == 1


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_finder_beside_it_finds_the_same_in_photos_of_any_shape(ending, exported, finder_run):
    loaded = load_torch_finder(exported / f"finder{ending}")
    classifier = load_torch_classifier(exported / f"birds{ending}")
    assert Identifier(classifier, loaded).mismatch is None
    gate = loaded.card["gate"]
    assert gate["photos"] == 4 + len(drawn.awkward_photos()) <= gate["boxes"]
    by_onnx, random = Finder(finder_run / "finder.onnx"), np.random.default_rng(0)
    for shape in ((1, 96, 96, 3), (3, 160, 96, 3), (2, 96, 256, 3)):
        photos = random.integers(256, size=shape).astype(np.uint8)
        for values, expected in zip(loaded.predict(photos), by_onnx.predict(photos), strict=True):
            assert np.allclose(values, expected, atol=1e-3)


def test_each_file_is_verified_with_the_finder_of_its_own_format(exported, verified):
    finders = [identifier.finder for identifier in verified]
    assert [type(finder.session) for finder in finders] == [TorchRuntime] * len(FORMATS)
    assert [finder.card["format"] for finder in finders] == list(FORMATS)


def test_the_names_of_input_and_outputs_are_in_each_file(exported):
    names = set(model_file.OUTPUTS)
    program = torch.export.load(exported / "birds.pt2")
    assert program.call_spec.in_spec is not None
    assert list(program.graph_signature.user_inputs) == ["photo"]
    outputs = program.module()(torch.from_numpy(BIRDS))
    assert outputs.keys() == names
    with ignore_deprecation():
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
def test_only_fp16_stores_weights_in_half_the_space(format, network, tmp_path):
    sizes = []
    for dtype in ("fp16", "fp32"):
        convert(format, network, tmp_path / "file", dtype)
        sizes.append((tmp_path / "file").stat().st_size)
    counts = [weight.numel() for weight in network.backbone.parameters()]
    large = sum(count for count in counts if count >= SMALL)
    assert large > 0.7 * sum(counts)
    assert sizes[1] - sizes[0] == pytest.approx(2 * large, rel=0.2)  # the casts take some


def convert(format, network, path, weights_dtype="fp16"):
    """Write a network in a format; return its graph."""
    graph = Graph(network, 1.5)
    (converted,) = convert_models([format], graph, network, weights_dtype, None)
    converted.write_model({}, path)
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
    runtime = load_runtime(file)
    for count in (1, 2, len(BIRDS)):
        outputs = runtime.run(list(model_file.OUTPUTS), {"photo": BIRDS[:count]})
        with torch.no_grad():
            expected = graph(torch.from_numpy(BIRDS[:count]))
        for values, reference in zip(outputs, expected, strict=True):
            assert np.allclose(values, reference, atol=1e-4)


@pytest.mark.parametrize("format", FORMATS)
def test_a_network_that_cannot_be_converted_is_reported(format, network):
    class Unsupported(Graph):
        def forward(self, photo):
            raise NotImplementedError("no such operator\nin C++")

    message = rf"`{network.arch}` cannot be written as {format} \(.+\)\. Leave out `--format"
    with pytest.raises(ExportError, match=message):
        convert_models([format], Unsupported(network), network, "fp16", None)


def test_nothing_is_written_unless_every_file_passes(exported, export_all, tmp_path, monkeypatch):
    again = tmp_path / "run"
    shutil.copytree(exported, again)
    before = {path.name: sha256_file(path) for path in again.iterdir()}

    def convert_changed(format, graph, *arguments):
        if isinstance(graph, Graph):  # that of birds.pt2, the last file
            graph = copy.deepcopy(graph)
            with torch.no_grad():
                graph.outputs.get_buffer("class_weight")[0] += 0.5
        return convert_graph(format, graph, *arguments)

    monkeypatch.setattr(conversion, "convert_graph", convert_changed)
    # the card's own photo would show it before the gate does
    monkeypatch.setattr(Classifier, "check_outputs", lambda *_: None)
    with pytest.raises(GateError, match=r"birds\.pt2: .* no model file was written"):
        export_all(again, ["pt2"])
    report = pd.read_csv(again / "gate.csv")
    assert set(report["file"]) == {"birds.pt2"}
    assert not report["passed"].all()
    after = {path.name: sha256_file(path) for path in again.iterdir()}
    assert before.pop("gate.csv") != after.pop("gate.csv")
    assert after == before


@pytest.mark.parametrize("format", FORMATS)
def test_a_finder_that_differs_from_its_network_does_not_pass(
    format, finder_run, converted_finders, tmp_path
):
    network = load_exported_detector(finder_run / "finder.onnx")
    assert network.output.bias is not None
    with torch.no_grad():
        network.output.bias[1:] += 0.05  # larger boxes
    write, by_onnx = converted_finders[format], Finder(finder_run / "finder.onnx")
    with pytest.raises(GateError, match=rf"^finder\{FORMAT_SUFFIXES[format]}: .* other boxes"):
        write_finder_copy(format, write, network, by_onnx, tmp_path, drawn.awkward_photos())


def test_only_the_files_of_the_last_export_are_there_and_hold_the_weights_as_it_says(
    exported, folder, onnx_features, tmp_path, monkeypatch
):
    monkeypatch.setattr(exporter, "export_features", lambda *_: onnx_features)
    again = tmp_path / "run"
    shutil.copytree(exported, again)
    assert {f"birds{end}" for end in ENDINGS} < {path.name for path in again.iterdir()}
    options = ["--format", "pt2", "--weights-dtype", "fp32"]
    result = run_command("export", again, *options, FIELDMARK_PHOTOS=str(folder))
    assert result.exit_code == 0, result.stderr
    assert re.search(r"birds\.pt2, \d\.\d MB, passed with \d+ photos: prob", result.stdout)
    assert {path.name for path in again.iterdir()} == {
        *("birds.onnx", "birds.pt2", "birds.safetensors"),
        *("gate.csv", "recipe.yaml", "split.csv", ".lock"),
    }
    weights = torch.export.load(again / "birds.pt2").state_dict.values()
    assert load_card(again / "birds.pt2")["weights_dtype"] == "fp32"
    assert torch.half not in {weight.dtype for weight in weights}
    weights = torch.export.load(exported / "birds.pt2").state_dict.values()
    assert torch.half in {weight.dtype for weight in weights}


def test_formats_that_cannot_be_written_are_refused_at_once(
    network, table, folder, finder_file, finder_run, tmp_path
):
    with pytest.raises(ExportError, match="8 bits"):
        export_model(network, table, folder, FACTS, tmp_path, weights_dtype="int8", formats=["pt2"])
    mixed = tmp_path / "mixed" / "finder.onnx"
    shutil.copytree(finder_run, mixed.parent)
    detector = load_exported_detector(mixed)
    card = Finder(mixed).card | {"version": "of another run"}
    save_weights(detector, mixed.with_suffix(".safetensors"), "fp16", card)
    for file, message in {
        finder_file: r"finder\.safetensors beside it",
        mixed: "do not belong together",
        tmp_path / "none.onnx": r"none\.onnx does not exist. Set FIELDMARK_FINDER",
    }.items():
        options = UncertaintyOptions(finder=file)
        with pytest.raises(RunError, match=message):
            export_model(network, table, folder, FACTS, tmp_path, options, formats=["pt2"])


def test_the_run_of_a_finder_without_weights_names_the_command_that_writes_them(
    finder_run, tmp_path
):
    shutil.copytree(finder_run, tmp_path / "run")
    FinderRun(tmp_path / "run").best_file.unlink()
    result = run_command("export", tmp_path / "run")
    assert result.exit_code == 2
    assert "best.safetensors is missing. Run `fieldmark train-finder`" in result.stderr


def test_the_backend_of_triton_is_refused_without_triton(exported):
    result = run_command("export", exported, "--triton-backend", "python")
    assert result.exit_code == 2
    assert "only for --triton" in result.stderr


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_card_is_read_without_torch(ending, exported, tmp_path):
    result = run_without(["torch"], tmp_path, "describe", exported / f"birds{ending}")
    assert result.returncode == 0, result.stderr
    assert "species: " in result.stdout


@pytest.mark.parametrize("name", [f"{n}{end}" for n in ("birds", "finder") for end in ENDINGS])
def test_a_file_is_described_but_not_served(name, exported):
    result = run_command("describe", exported / name)
    assert result.exit_code == 0, result.stderr
    assert name in result.stdout
    app = create_app(exported / name)
    assert f"{name} is not an ONNX file" in app.state.fault


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_that_is_none_of_ours_is_reported(ending, exported, tmp_path, caplog, capfd):
    file, content = tmp_path / f"birds{ending}", (exported / f"birds{ending}").read_bytes()
    with pytest.raises(ModelError, match="does not exist"):
        load_card(file)
    file.write_bytes(content[:-100])
    with pytest.raises(ModelError, match="damaged"):
        load_card(file)
    with zipfile.ZipFile(exported / file.name) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    position = largest.header_offset + largest.file_size // 2
    file.write_bytes(content[:position] + b"\xff\xfe" + content[position + 2 :])
    with pytest.raises(ModelError, match="damaged"):
        load_torch_classifier(file)
    file.write_bytes((exported / f"finder{ending}").read_bytes())
    with pytest.raises(ModelError, match=r"no valid `labels`|schema"):
        load_torch_classifier(file)
    (other,) = set(ENDINGS) - {ending}
    file.write_bytes((exported / f"birds{other}").read_bytes())
    with pytest.raises(ModelError, match="another one by its name"):
        load_torch_classifier(file)
    assert not caplog.records
    assert not any(capfd.readouterr())


def test_the_run_of_a_finder_is_exported_by_the_command(finder_run):
    names = {path.name for path in finder_run.iterdir()}
    assert {"finder.onnx", "finder.pt2", "finder.safetensors"} < names
    assert not {"finder.torchscript.pt", "exported"} & names
    loaded = load_torch_finder(finder_run / "finder.pt2")
    assert loaded.sha256 == Finder(finder_run / "finder.onnx").sha256


def test_the_documented_example_classifies_a_photo(exported, tmp_path, monkeypatch):
    text = (ROOT / "docs/training.md").read_text(encoding="utf-8").split("## Other file formats")[1]
    code = text.split("```python\n")[1].split("```")[0].replace("224", str(SIZE))
    (tmp_path / "bird.jpg").write_bytes(drawn.encode_photo(BIRDS[2]))
    for file in exported.glob("birds.*"):
        (tmp_path / file.name).symlink_to(file)
    monkeypatch.chdir(tmp_path)
    names, results = {}, []
    with ignore_deprecation():
        for part in re.split(r"(?<=\n)\n(?=script|program)", code):
            exec(part, names)  # noqa: S102
            results.append(names.get("outputs"))
    expected = Classifier(exported / "birds.onnx").predict(names["photo"].numpy())
    for outputs in results[1:]:
        assert np.allclose(outputs["probability"].detach(), expected.probability, atol=1e-5)
    assert len(results) == 3


def test_file_formats_are_compared_in_one_table(
    run, folder, exported, finder_run, monkeypatch, capsys
):
    monkeypatch.setenv("FIELDMARK_PHOTOS", str(folder))
    monkeypatch.setenv("FIELDMARK_FINDER", str(finder_run / "finder.onnx"))
    rebuilt = lambda copy, formats: shutil.copytree(exported, copy, dirs_exist_ok=True)  # noqa: E731
    monkeypatch.setattr(benchmark, "rebuild_model", rebuilt)
    benchmark.main(run, rounds=9)
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "| fp" in line]
    names = [f"{name}{end}" for name in ("birds", "finder") for end in (".onnx", ".pt2")]
    assert set(names) < {row[0] for row in rows}
    assert [row[1] for row in rows].count("fp32") == 2
    assert all(row[4].startswith("1.00 (") for row in rows if row[0].endswith(".onnx"))
    assert [row[-2:] for row in rows[:3]] == [["100.0 % (86.2 % to 100.0 %)", "24"]] * 3
    found = [row[-2:] for row in rows if row[0].startswith("finder")]
    assert found == [["100.0 % (86.2 % to 100.0 %)", "24"]] * 3
