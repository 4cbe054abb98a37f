"""A Learner becomes one file that answers alike; a planted fault is caught and nothing written."""

import json
import shutil

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from fastai.vision.all import create_head
from PIL import Image
from safetensors.torch import load_file, save_file

from birds import drawn, photo
from birds.classifier import Classifier, ModelError
from export import drop, model_file
from export import exporter as publish
from export import publish as ship
from export.card import labels
from export.gate import GateError, gate
from export.graph import ExportError, Graph
from fieldmark.data import datasets as sources
from fieldmark.data import loaders as data
from fieldmark.data import splits as parts
from fieldmark.errors import NetworkError
from tests import networks, trees  # noqa: F401
from tests.command_line import run_command
from tests.conftest import ARCH, FACTS, ROOT, SIZE, create_learner, create_network


@pytest.fixture
def learn(new_learner, run):
    """Return the Learner that `run` was exported from."""
    learn = new_learner("random")
    learn.model.load_state_dict(load_file(run / "birds.safetensors"))
    learn.model.eval()
    return learn


def judged(learn, model, photos):
    """Pass the gate with the temperature of the file and its score, a probability."""
    return gate(learn, model, photos, Classifier(model).card["temperature"])


def photos_of(table, folder) -> dict[str, bytes]:
    judged = table[table["split"] != "train"]["path"]
    return {path: (folder / path).read_bytes() for path in judged}


def test_the_graph_answers_as_the_model_does(learn):
    pixels = torch.randint(0, 256, (4, SIZE, SIZE, 3), dtype=torch.uint8)
    graph = Graph(learn.network)
    with torch.no_grad():
        normal = (pixels.permute(0, 3, 1, 2) / 255 - graph.pixel_mean) / graph.pixel_std
        expected = learn.model(normal).softmax(1)
        probability, unknown, _, _ = graph(pixels)
    assert torch.allclose(probability, expected, atol=1e-5)
    assert torch.allclose(unknown, 1 - expected.max(1).values, atol=1e-5)


@pytest.mark.parametrize("arch", [ARCH, "test_convnext", "little_swin", "test_vit2"])
def test_the_heat_map_is_grad_cam(learn, new_learner, arch):
    """Selvaraju et al. 2017, by autograd: the gradient of the first logit, averaged over places."""
    learn = learn if arch == ARCH else new_learner("random", arch)
    pixels = torch.from_numpy(drawn.draw_bird("Green_Inkling", 4, SIZE, SIZE))[None]
    graph = Graph(learn.network)
    normal = (pixels.permute(0, 3, 1, 2) / 255 - graph.pixel_mean) / graph.pixel_std
    features = learn.model[0](normal)
    features.retain_grad()
    learn.model[1](features).max().backward()
    expected = (features.grad.mean((2, 3), keepdim=True) * features).sum(1).relu()
    expected = expected / expected.max()
    with torch.no_grad():
        heatmap = graph(pixels)[2]
    assert torch.allclose(heatmap, expected, atol=1e-4)
    assert heatmap.std() > 0


def test_a_head_that_is_not_affine_is_refused(learn):
    learn.model[1] = create_head(learn.model[0].model.num_features, 6)
    with pytest.raises(ExportError, match="average pool"):
        Graph(learn.network)


def test_the_file_is_one_and_names_what_the_contract_names(model):
    proto = onnx.load(model)
    assert not [t for t in proto.graph.initializer if t.external_data]
    assert [i.name for i in proto.graph.input] == ["photo"]
    assert tuple(o.name for o in proto.graph.output) == (
        *("probability", "unknown", "heatmap", "embedding"),
    )
    for value in [*proto.graph.input, *proto.graph.output]:
        assert value.type.tensor_type.shape.dim[0].dim_param == "N"
    assert proto.opset_import[0].version == model_file.OPSET


def test_weights_stand_in_the_file_as_float16_and_lose_nothing(model):
    kinds = {tensor.data_type for tensor in onnx.load(model).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds
    session = onnxruntime.InferenceSession(model)
    assert {output.type for output in session.get_outputs()} == {"tensor(float)"}


def test_the_file_tells_nothing_of_the_machine_that_made_it(model):
    content = model.read_bytes()
    assert b"stack_trace" not in content
    assert str(ROOT).encode() not in content


def test_a_number_beyond_float16_is_refused():
    network = create_network("random")
    network.head[-1].weight.data[0, 0] = 1e6
    with pytest.raises(NetworkError, match="float16"):
        network.round_to_half()


def test_the_card_says_what_serving_and_readers_need(model, table):
    card = Classifier(model).card
    assert [each["label"] for each in card["labels"]] == sorted(table["label"].unique())
    assert card["preparation"]["size"] == SIZE
    assert len(card["preparation"]["sha256"]) == 8
    assert card["metrics"]["accuracy"]["n"] == (table["split"] == "calibration").sum()
    assert card["gate"]["photos"] == (table["split"] != "train").sum() + 8
    assert card["gate"]["largest_difference"] < 1e-4
    assert card["data"]["photos"] == table["split"].value_counts().to_dict()
    assert FACTS.items() <= card.items()


def test_names_are_looked_up_and_unknown_ones_stay_as_they_are():
    anna, other = labels(["Anna Hummingbird", "Night Inkling"])
    assert anna["common_name"] == "Anna's Hummingbird"
    assert (anna["scientific_name"], anna["genus"]) == ("Calypte anna", "Calypte")
    assert anna["family"] == "Trochilidae"
    assert other["common_name"] == "Night Inkling"
    assert other["scientific_name"] is None


def test_the_gate_lets_an_equal_file_through(learn, model, table, folder):
    report = judged(learn, model, photos_of(table, folder))
    assert report["passed"].all()
    assert report["difference"].max() < 1e-4


def test_the_gate_passes_where_the_function_asks_for_a_key(learn, model, monkeypatch):
    monkeypatch.setenv("FIELDMARK_FUNCTION_KEY", "a-key")
    assert judged(learn, model, drawn.awkward_photos())["passed"].all()


def a_weight(monkeypatch, learn):
    with torch.no_grad():
        learn.model[1][-1].weight[0] += 0.5


def swapped_labels(monkeypatch, learn):
    vocab = learn.dls.vocab
    vocab.items[0], vocab.items[1] = vocab.items[1], vocab.items[0]


def a_changed_mean(monkeypatch, learn):
    for normalise in learn.dls.valid.after_batch.fs:
        if hasattr(normalise, "mean"):
            normalise.mean = normalise.mean + 0.05


def another_filter(monkeypatch, learn):
    def bilinear(data, size, filter="bicubic"):
        image, _ = photo.decode_photo(data, size)
        left, top, side = photo.centre_square(*image.size)
        image = image.crop((left, top, left + side, top + side))
        return np.array(image.resize((size, size), Image.Resampling.BILINEAR))

    monkeypatch.setattr(photo, "prepare", bilinear)


FAULTS = [a_weight, swapped_labels, a_changed_mean, another_filter]


@pytest.mark.parametrize("plant", FAULTS)
def test_the_gate_catches(plant, learn, model, table, folder, monkeypatch):
    photos = photos_of(table, folder)
    plant(monkeypatch, learn)
    with pytest.raises(GateError) as caught:
        judged(learn, model, photos)
    report = caught.value.report
    assert not report["passed"].iloc[0]
    assert report.index[0] in str(caught.value)


def test_the_gate_catches_a_photo_that_only_the_function_refuses(learn, model, monkeypatch):
    read, pixels = photo.prepare_photo, drawn.draw_bird("Night_Inkling", 0, SIZE, SIZE)

    def refuse(data, size, filter="bicubic"):
        if data == b"odd":
            raise photo.DamagedPhoto("This photo is damaged.")
        return read(data, size, filter)

    def see(data, size, filter="bicubic"):
        return pixels if data == b"odd" else read(data, size, filter).pixels

    monkeypatch.setattr(photo, "prepare_photo", refuse)
    monkeypatch.setattr(photo, "prepare", see)
    with pytest.raises(GateError, match="damaged-photo"):
        judged(learn, model, {"one": b"odd"})


def test_a_file_that_cannot_be_served_does_not_pass(learn, model, tmp_path):
    damaged = tmp_path / "birds.onnx"
    damaged.write_bytes(model.read_bytes()[:-100])
    with pytest.raises(ModelError, match="damaged"):
        gate(learn, damaged, {"one": drawn.awkward_photos()["tiny"]})


def test_nothing_is_written_when_the_gate_says_no(learn, table, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "Graph", skewed)
    with pytest.raises(GateError):
        publish.publish(learn, table, folder, SIZE, FACTS, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["gate.csv"]
    report = pd.read_csv(tmp_path / "gate.csv")
    assert not report["passed"].iloc[0]
    assert report["difference"].is_monotonic_decreasing


def skewed(*arguments):
    """Return a graph with another mean than the Learner's."""
    graph = Graph(*arguments)
    graph.pixel_mean += 0.05
    return graph


@pytest.fixture
def copy(run, folder, tmp_path, monkeypatch):
    """Return a copy of the run without its model file, and put its photos in reach."""
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "birds.onnx").unlink()
    monkeypatch.setenv("FIELDMARK_PHOTOS", str(folder))
    return tmp_path / "run"


def test_the_file_is_rebuilt_from_its_weights_without_training(copy, run):
    assert run_command("export", copy).exit_code == 0
    new, old = Classifier(copy / "birds.onnx"), Classifier(run / "birds.onnx")
    assert new.card["version"].split("-")[1] == old.card["version"].split("-")[1]
    assert new.card["accuracy_before_rounding"] == old.card["accuracy_before_rounding"]
    photos = np.stack([photo.prepare(data, SIZE) for data in drawn.awkward_photos().values()])
    for one, other in zip(new.predict(photos), old.predict(photos), strict=True):
        assert np.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_file_of_another_precision_is_made_of_the_same_weights(copy, run, precision, monkeypatch):
    # of 24 photos one is over the limit, and this model is hardly trained
    monkeypatch.setattr(drop, "LIMIT", 10)
    monkeypatch.setitem(drop.AGREEMENT, "int8", 0.8)
    assert run_command("export", copy, "--weights-dtype", precision).exit_code == 0
    new, old = (Classifier(folder / "birds.onnx") for folder in (copy, run))
    assert (new.card["precision"], old.card["precision"]) == (precision, "fp16")
    assert new.card["gate"]["agreement"]["n"] == 24
    assert new.card["version"] != old.card["version"]
    assert ship.ship(copy, copy / "shipped").endswith(new.card["version"])
    kinds = {node.op_type for node in onnx.load(copy / "birds.onnx").graph.node}
    assert ("QuantizeLinear" in kinds) == (precision == "int8")


def test_the_exit_status_says_that_the_gate_said_no(copy, monkeypatch):
    monkeypatch.setattr(publish, "Graph", skewed)
    result = run_command("export", copy)
    assert result.exit_code == 1
    assert "no model was written" in result.stderr
    assert not (copy / "birds.onnx").exists()


def test_a_rebuild_sees_that_photos_are_prepared_otherwise(copy, run, monkeypatch):
    made = Classifier(run / "birds.onnx").card["preparation"]["sha256"]
    monkeypatch.setattr(photo, "centre_square", lambda width, height: (0, 0, min(width, height)))
    result = run_command("export", copy)
    assert result.exit_code == 2
    assert "--new-preparation" in result.stderr
    assert run_command("export", "--new-preparation", copy).exit_code == 0
    anew = Classifier(copy / "birds.onnx").card["preparation"]["sha256"]
    assert {name for name in made if made[name] != anew[name]} >= {"tall", "wide"}


def test_photos_are_resized_as_the_architecture_wants_from_training_to_service(
    table, folder, settings, weights, tmp_path
):
    dls = data.make_dataloaders(table, folder, **settings | {"filter": "bilinear"}, batch_size=8)
    learn = create_learner(dls, weights)
    publish.publish(learn, table, folder, SIZE, FACTS, tmp_path, "bilinear")
    classifier = Classifier(tmp_path / "birds.onnx")
    file = drawn.awkward_photos()["wide"]
    expected = np.asarray(photo.prepare(file, SIZE, "bilinear"))
    assert np.array_equal(classifier.prepare_photo(file).pixels, expected)
    assert not np.array_equal(photo.prepare(file, SIZE), expected)


def test_a_run_on_crops_is_rebuilt_from_crops(settings, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = {"photos": str(trees.make_cub(tmp_path / "cub", 8, 2)), "crop_to_box": True}
    folder, found = sources.load_dataset(recipe["photos"])
    found = parts.split_photos(found)
    dls = data.make_dataloaders(found, folder, **settings, batch_size=8)
    publish.publish(
        create_learner(dls, weights),
        found,
        folder,
        SIZE,
        FACTS | {"recipe": recipe},
        tmp_path / "run",
    )
    made = Classifier(tmp_path / "run" / "birds.onnx").card
    shutil.rmtree(tmp_path / "runs")  # the crops
    assert run_command("export", tmp_path / "run").exit_code == 0
    again = Classifier(tmp_path / "run" / "birds.onnx").card
    assert again["data"] == made["data"]
    assert again["data"]["photos"] == {"train": 36, "valid": 6, "calibration": 6, "test": 12}


def test_a_rebuild_without_its_photos_says_where_to_put_them(copy, monkeypatch, tmp_path):
    monkeypatch.setenv("FIELDMARK_PHOTOS", str(tmp_path))
    result = run_command("export", copy)
    assert result.exit_code == 2
    assert "FIELDMARK_PHOTOS" in result.stderr


def test_a_run_is_shipped_whole(run, tmp_path):
    assert ship.ship(run, tmp_path).startswith("tiny ")
    assert {path.name for path in tmp_path.iterdir()} == set(publish.FILES)


def without_split(run):
    (run / "split.csv").unlink()


def another_recipe(run):
    (run / "recipe.yaml").write_text("photos: elsewhere\n")


def other_weights(run):
    tensors = load_file(run / "birds.safetensors")
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, run / "birds.safetensors")


def no_gate(run):
    proto = onnx.load(run / "birds.onnx")
    card = json.loads(proto.metadata_props[0].value)
    model_file.write(proto, card | {"gate": None}, run / "birds.onnx")


@pytest.mark.parametrize("spoil", [without_split, another_recipe, other_weights, no_gate])
def test_a_run_whose_files_do_not_belong_together_is_not_shipped(spoil, run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    spoil(tmp_path / "run")
    with pytest.raises((FileNotFoundError, ModelError)):
        ship.ship(tmp_path / "run", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_the_weights_keep_their_card(run):
    from safetensors import safe_open

    with safe_open(run / "birds.safetensors", "pt") as file:
        card = json.loads(file.metadata()["card"])
    assert card["architecture"] == ARCH
