"""A network becomes one file that predicts the same; after a planted fault nothing is written."""

import shutil
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from birds import drawn, photo
from birds.classifier import Classifier
from birds.http import routes
from export import exporter, gate, model_file
from export.card import describe_labels
from export.exporter import export_model
from export.graph import Graph
from export.predictions import drawn_photos, features_predictor, predict_held_out
from export.publish import publish
from export.quantization import compute_outputs
from export.rebuild import rebuild_model
from fieldmark.errors import (
    DatasetError,
    ExportError,
    GateError,
    LockedError,
    RecipeError,
    RunError,
    UserError,
)
from fieldmark.evaluation import ood
from fieldmark.evaluation.open_set import describe_open_set_run
from fieldmark.evaluation.predictions import predict
from fieldmark.evaluation.search import search_photos
from fieldmark.evaluation.uncertainty import UncertaintyOptions
from fieldmark.finder.grounds import split_grounds
from fieldmark.network.network import Network
from fieldmark.recipe import Recipe
from fieldmark.run import Run
from tests import networks  # noqa: F401
from tests.conftest import ARCH, FACTS, ROOT, SIZE, create_network
from tests.decoders import InlineDecoder
from tests.test_locking import hold


def test_the_graph_computes_what_the_network_does(network, graph):
    pixels = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), np.uint8)
    logits, embedding = network.forward_pixels(pixels)
    expected = (logits / graph.outputs.temperature).softmax(1)
    with torch.no_grad():
        probability, unknown, _, graph_embedding = graph(torch.from_numpy(pixels))
    assert torch.allclose(probability, expected, atol=1e-5)
    assert torch.allclose(unknown, 1 - expected.max(1).values, atol=1e-5)
    assert torch.allclose(graph_embedding, embedding, atol=1e-5)


@pytest.mark.parametrize("arch", [ARCH, "test_convnext", "little_swin", "test_vit2"])
def test_the_heat_map_is_grad_cam(network, arch):
    """Selvaraju et al. 2017, by autograd: the gradient of the first logit, averaged over places."""
    network = network if arch == ARCH else create_network("random", arch)
    network.model.eval()
    pixels = drawn.draw_bird("Green_Inkling", 4, SIZE, SIZE)[None]
    features = network.backbone(network.preparation.normalize(pixels))
    features.retain_grad()
    network.head(features).max().backward()
    expected = (features.grad.mean((2, 3), keepdim=True) * features).sum(1).relu()
    expected = expected / expected.max()
    with torch.no_grad():
        heatmap = Graph(network)(torch.from_numpy(pixels))[2]
    assert torch.allclose(heatmap, expected, atol=1e-4)
    assert heatmap.std() > 0


def test_a_head_that_is_not_affine_is_refused(network):
    network.model[1] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.ReLU())
    with pytest.raises(ExportError, match="ReLU"):
        Graph(network)


def test_the_file_is_one_and_has_the_names_of_the_contract(model):
    proto = onnx.load(model)
    assert not [t for t in proto.graph.initializer if t.external_data]
    assert [i.name for i in proto.graph.input] == ["photo"]
    outputs = ["probability", "unknown", "heatmap", "embedding"]
    assert [o.name for o in proto.graph.output] == outputs
    for value in [*proto.graph.input, *proto.graph.output]:
        assert value.type.tensor_type.shape.dim[0].dim_param == "N"
    assert proto.opset_import[0].version == model_file.OPSET
    session = onnxruntime.InferenceSession(model)
    assert {output.type for output in session.get_outputs()} == {"tensor(float)"}


def test_the_file_does_not_reveal_the_machine_that_wrote_it(model):
    content = model.read_bytes()
    assert b"stack_trace" not in content
    assert str(ROOT).encode() not in content


def test_the_card_has_what_serving_and_readers_need(run, table):
    card = Classifier(run / "birds.onnx").card
    splits = table["split"].value_counts()
    assert [label["label"] for label in card["labels"]] == sorted(table["label"].unique())
    assert card["schema"] == 2
    assert card["architecture"] == ARCH
    assert card["preparation"]["size"] == SIZE
    assert len(card["preparation"]["sha256"]) == 8
    assert card["metrics"]["split"] == "calibration"
    assert card["metrics"]["accuracy"]["n"] == splits["calibration"]
    assert card["gate"]["photos"] == splits["valid"] + splits["calibration"] + 8
    assert card["gate"]["largest_difference"] < 1e-4
    assert card["data"]["photos"] == splits.to_dict()
    assert card["ood_score_fit"] == {"split": "train", "photos": splits["train"]}
    assert FACTS.items() <= card.items()
    assert Run(run).card == card


def test_too_few_photos_give_no_guarantee(run):
    thresholds = Classifier(run / "birds.onnx").card["thresholds"]
    assert thresholds == {"shortlist": None, "unknown": None}


def test_names_are_looked_up_and_unknown_ones_stay_as_they_are():
    anna, other = describe_labels(["Anna Hummingbird", "Night Inkling"])
    assert anna["common_name"] == "Anna's Hummingbird"
    assert (anna["scientific_name"], anna["genus"]) == ("Calypte anna", "Calypte")
    assert anna["family"] == "Trochilidae"
    assert other["common_name"] == "Night Inkling"
    assert other["scientific_name"] is None


def test_photos_in_two_splits_are_refused(network, table, folder, tmp_path):
    copy = table[table["split"] == "train"].head(1).assign(split="valid")
    with pytest.raises(DatasetError, match=copy["path"].iloc[0]):
        export_model(network, pd.concat([table, copy]), folder, FACTS, tmp_path)
    (folder / "copy.png").write_bytes((folder / copy["path"].iloc[0]).read_bytes())
    copy["path"] = "copy.png"
    with pytest.raises(DatasetError, match=r"copy\.png"):
        export_model(network, pd.concat([table, copy]), folder, FACTS, tmp_path)
    (folder / "copy.png").unlink()


def test_a_split_without_valid_photos_is_refused(network, table, folder, tmp_path):
    photos = table.assign(split=table["split"].replace("valid", "train"))
    with pytest.raises(ExportError, match="no photos in valid"):
        export_model(network, photos, folder, FACTS, tmp_path)


def test_rounding_computes_a_photo_twice_only_where_it_changes_weights(network, table, folder):
    before, after = predict_held_out(network, table, folder)
    assert after is before  # the weights of a run are rounded already
    with torch.no_grad():
        network.head[-1].weight.add_(1e-5)
    before, after = predict_held_out(network, table, folder)
    assert 0 < np.abs(before.logits - after.logits).max() < 0.01
    assert np.array_equal(before.embedding, after.embedding)


def test_an_equal_file_passes_the_gate(network, run_gate):
    report = run_gate(network)
    assert report["passed"].all()
    assert report["difference"].max() < 1e-4


def test_the_gate_passes_where_the_function_requires_a_key(network, run_gate, monkeypatch):
    monkeypatch.setenv("FIELDMARK_FUNCTION_KEY", "a-key")
    photos, data = drawn_photos()
    assert run_gate(network, data, photos)["passed"].all()


def change_weight(monkeypatch, network):
    with torch.no_grad():
        network.head[-1].weight[0] += 0.5


def swap_labels(monkeypatch, network):
    network.labels[:2] = network.labels[1::-1]


def change_mean(monkeypatch, network):
    mean = tuple(value + 0.05 for value in network.preparation.mean)
    network.preparation = replace(network.preparation, mean=mean)


def change_filter(monkeypatch, network):
    def bilinear(data, size, filter="bicubic"):
        image, _ = photo.decode_photo(data, size)
        left, top, side = photo.centre_square(*image.size)
        image = image.crop((left, top, left + side, top + side))
        return np.array(image.resize((size, size), Image.Resampling.BILINEAR))

    monkeypatch.setattr(photo, "prepare", bilinear)


def halve_probabilities(monkeypatch, network):
    classify = routes.classify_photo

    def halved(*arguments):
        answer = classify(*arguments)
        for label in answer["predictions"]:
            label["probability"] /= 2
        return answer

    monkeypatch.setattr(routes, "classify_photo", halved)


FAULTS = [change_weight, swap_labels, change_mean, change_filter, halve_probabilities]


@pytest.mark.parametrize("plant", FAULTS)
def test_the_gate_finds_a_planted_fault(plant, network, run_gate, monkeypatch):
    plant(monkeypatch, network)
    with pytest.raises(GateError) as caught:
        run_gate(network)
    report = caught.value.report
    assert caught.value.exit_status == 1
    assert not report["passed"].iloc[0]
    assert report.index[0] in str(caught.value)


def test_the_gate_finds_a_photo_that_only_the_function_refuses(network, run_gate, monkeypatch):
    prepare_photo, pixels = photo.prepare_photo, drawn.draw_bird("Night_Inkling", 0, SIZE, SIZE)

    def refuse(data, size, filter="bicubic"):
        if data == b"odd":
            raise photo.DamagedPhoto("This photo is damaged.")
        return prepare_photo(data, size, filter)

    def prepare(data, size, filter="bicubic"):
        return pixels if data == b"odd" else prepare_photo(data, size, filter).pixels

    monkeypatch.setattr(photo, "prepare_photo", refuse)
    monkeypatch.setattr(photo, "prepare", prepare)
    monkeypatch.setattr(gate, "job_decoder", InlineDecoder)
    table = pd.DataFrame({"path": ["one"], "label": None, "split": "valid"})
    with pytest.raises(GateError, match="damaged-photo"):
        run_gate(network, {"one": b"odd"}, table)


def shift_logit(*arguments):
    """Return a graph with a logit that is higher than the network's."""
    graph = Graph(*arguments)
    graph.outputs.class_bias[0] += 1
    return graph


def replace_score(network, temperature=1.0, score=None):
    """Return a graph with another out-of-distribution score than the one that was chosen."""
    return Graph(network, temperature, ood.Energy())


@pytest.mark.slow
@pytest.mark.parametrize("graph", [shift_logit, replace_score])
def test_nothing_is_written_unless_the_file_passes(
    graph, network, table, folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(exporter, "Graph", graph)
    with pytest.raises(GateError):
        export_model(network, table, folder, FACTS, tmp_path, UncertaintyOptions(ood_score="msp"))
    assert [path.name for path in tmp_path.iterdir()] == ["gate.csv"]
    report = pd.read_csv(tmp_path / "gate.csv")
    assert not report["passed"].iloc[0]
    assert report["difference"].is_monotonic_decreasing


@pytest.fixture(scope="session")
def features(graph):
    return model_file.export_features(graph.features, SIZE)


@pytest.mark.parametrize("name", ood.SCORES)
def test_the_file_computes_every_score_as_torch_does(name, features, run, table, folder):
    network, photos = Network.load(run), table[table["split"] == "train"]
    train = search_photos(photos, folder, None, features_predictor(features, network)).crops
    (by_torch,) = predict([network], photos, folder)
    assert np.allclose(train.embedding, by_torch.embedding, atol=1e-4)
    assert np.allclose(train.logits, by_torch.logits, atol=1e-4)
    score = ood.fit_scores(train, [name])[name]
    model = model_file.join_outputs(features, Graph(network, 1.5, score).outputs)
    pixels = np.stack([drawn.draw_bird(bird, 9, SIZE, SIZE) for bird in drawn.SPECIES])
    logits, embedding = network.forward_pixels(pixels)
    with torch.no_grad():
        expected = score(embedding, logits / 1.5)
    assert compute_outputs(model, pixels)["unknown"] == pytest.approx(expected.numpy(), abs=1e-3)


@pytest.mark.slow
def test_the_card_says_what_was_compared_and_what_is_guaranteed(network, table, folder, tmp_path):
    """Two species are unseen, and photos of the others are enough for thresholds of 90 %."""
    unseen = table["label"].isin(network.labels[:2])
    splits = table["split"].replace("valid", "calibration").mask(unseen, "unseen")
    known = table.index[~unseen & (table["split"] == "train")]
    splits[known[::4]] = "valid"
    photos = table.assign(split=splits)
    network = create_network("random", labels=network.labels[2:])
    things = [folder / path for path in table["path"][unseen]]  # birds will do
    options = UncertaintyOptions(0.8, 0.1, ood_photos={"not_birds": things})
    card = export_model(network, photos, folder, FACTS, tmp_path, options)
    assert set(card["ood_scores_compared"]) == set(ood.SCORES)
    assert set(card["out_of_distribution"]) == {"not_birds", "unseen"}
    measured = card["out_of_distribution"]["not_birds"]["called_unknown"]
    assert measured["n"] == len(split_grounds(things)[1]) // 2  # the others chose, or are grounds
    assert card["thresholds"]["shortlist"]["level"] == 0.8
    best = ood.choose_score(card["ood_scores_compared"], 4)
    assert card["thresholds"]["unknown"]["score"] == best
    assert card["metrics"]["ece"]["n"] == (photos["split"] == "calibration").sum()
    described = describe_open_set_run(str(tmp_path))
    assert (described["species"], described["score"]) == (4, best)
    assert described["out_of_distribution"] == card["out_of_distribution"]
    later = tmp_path / "later"
    later.mkdir()
    facts = {"open_set_run": described, "name": "later", "out_of_distribution": {}}
    network.save(later / "birds.safetensors", card | facts)
    assert describe_open_set_run(str(later)) == described


@pytest.fixture
def copy(run, folder, tmp_path, monkeypatch):
    """Return a copy of the run without its model file, whose photos are in place."""
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "birds.onnx").unlink()
    monkeypatch.setenv("FIELDMARK_PHOTOS", str(folder))
    return tmp_path / "run"


@pytest.mark.slow
def test_the_file_is_exported_again_from_weights_and_split(copy, run):
    rebuild_model(copy)
    new, old = Classifier(copy / "birds.onnx"), Classifier(run / "birds.onnx")
    assert new.card["version"].split("-")[1] == old.card["version"].split("-")[1]
    assert new.card["accuracy_before_rounding"] == old.card["accuracy_before_rounding"]
    photos = np.stack([photo.prepare(data, SIZE) for data in drawn.awkward_photos().values()])
    for new_output, old_output in zip(new.predict(photos), old.predict(photos), strict=True):
        assert np.allclose(new_output, old_output, atol=1e-5)


@pytest.mark.slow
def test_a_rebuild_notices_that_photos_are_prepared_differently(copy, run, monkeypatch):
    recorded = Classifier(run / "birds.onnx").card["preparation"]["sha256"]
    top_left = lambda width, height: (0, 0, min(width, height))  # noqa: E731
    monkeypatch.setattr(photo, "centre_square", top_left)
    monkeypatch.setattr(gate, "job_decoder", InlineDecoder)
    with pytest.raises(RunError, match="preparation has changed"):
        rebuild_model(copy)
    rebuild_model(copy, new_preparation=True)
    new = Classifier(copy / "birds.onnx").card["preparation"]["sha256"]
    assert {name for name in recorded if recorded[name] != new[name]} >= {"tall", "wide"}


def test_a_recipe_that_needs_retraining_is_refused(copy):
    same = Recipe.parse(FACTS["recipe"])
    with pytest.raises(RecipeError, match="`size`"):
        rebuild_model(copy, recipe=same.model_copy(update={"size": same.size + 32}))


def test_a_run_that_another_process_trains_or_exports_is_not_rebuilt(copy):
    with hold(copy) as first:
        assert first.stdout.readline() == "locked\n"
        with pytest.raises(LockedError, match=f"by process {first.pid}"):
            rebuild_model(copy)
        first.kill()


def test_a_rebuild_without_its_photos_says_where_to_put_them(copy, monkeypatch, tmp_path):
    (tmp_path / "species").mkdir()
    monkeypatch.setenv("FIELDMARK_PHOTOS", str(tmp_path))
    with pytest.raises(UserError, match="FIELDMARK_PHOTOS"):
        rebuild_model(copy)


@pytest.mark.slow
def test_photos_are_resized_as_the_architecture_requires_from_training_to_service(
    network, table, folder, tmp_path
):
    network.preparation = replace(network.preparation, filter="bilinear")
    export_model(network, table, folder, FACTS, tmp_path)
    classifier = Classifier(tmp_path / "birds.onnx")
    file = drawn.awkward_photos()["wide"]
    expected = photo.prepare(file, SIZE, "bilinear")
    assert np.array_equal(classifier.prepare_photo(file).pixels, expected)
    assert not np.array_equal(photo.prepare(file, SIZE), expected)


def test_a_run_is_published_whole_and_replaces_all_files_of_the_model_before(run, tmp_path):
    for file in Run(tmp_path).further_files:
        file.touch()
    assert publish(run, tmp_path).startswith("tiny ")
    assert {path.name for path in tmp_path.iterdir()} == {f.name for f in Run(run).model_files}


def remove_split(run):
    run.split_file.unlink()


def replace_recipe(run):
    run.recipe_file.write_text("photos: elsewhere\n")


def replace_weights(run):
    tensors = load_file(run.weights_file)
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, run.weights_file)


def forget_gate(run):
    model = onnx.load(run.model_file)
    model_file.write_model(model, run.card | {"gate": None}, run.model_file)


@pytest.mark.parametrize("spoil", [remove_split, replace_recipe, replace_weights, forget_gate])
def test_a_run_whose_files_do_not_belong_together_is_not_published(spoil, run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    spoil(Run(tmp_path / "run"))
    with pytest.raises(RunError):
        publish(tmp_path / "run", tmp_path / "model")
    assert not (tmp_path / "model").exists()
