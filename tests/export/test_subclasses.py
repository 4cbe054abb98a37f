"""Plumages of one species are told apart in training and summed to the species in the file."""

import numpy as np
import pytest
import torch
from fastai.vision.all import set_seed

from birds import drawn
from birds.classifier import Classifier
from export.exporter import export_model
from export.graph import Graph
from fieldmark.data.datasets import list_photos
from fieldmark.data.loaders import make_dataloaders
from fieldmark.data.splits import split_photos
from fieldmark.data.subclasses import list_classes
from fieldmark.errors import DatasetError, NetworkError, WeightsError
from fieldmark.evaluation.metrics import accuracy_by_subclass
from fieldmark.evaluation.predictions import predict
from fieldmark.evaluation.uncertainty import UncertaintyOptions
from fieldmark.network.network import Network
from fieldmark.network.weights import load_head
from fieldmark.training.learner import embed_splits, head_learner, make_learner
from tests.conftest import ARCH, FACTS, SIZE, create_network

FOLDERS = {  # folders -> the invented species that is drawn in them
    "Dabbling_Inkling_(male)": "Ruby_capped_Inkling",
    "Dabbling_Inkling_(female)": "Rusty_Inkling",
    "Dabbling_Inkling": "Green_Inkling",
    "Dabbling_&_Diving_Inkling": "Blue_backed_Inkling",  # between the plumages in the alphabet
    "Night_Inkling": "Night_Inkling",
}
SPECIES = ["Dabbling & Diving Inkling", "Dabbling Inkling", "Night Inkling"]
PLUMAGES = ["Dabbling Inkling", "Dabbling Inkling (female)", "Dabbling Inkling (male)"]
PIXELS = np.stack([drawn.draw_bird(name, 77, SIZE, SIZE) for name in FOLDERS.values()])


@pytest.fixture(scope="module")
def plumages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plumages")
    for name, species in FOLDERS.items():
        (folder / name).mkdir()
        for seed in range(1, 13):
            photo = drawn.encode_photo(drawn.draw_bird(species, seed))
            (folder / name / f"{seed}.jpg").write_bytes(photo)
    return folder


@pytest.fixture(scope="module")
def photos(plumages):
    return split_photos(list_photos(plumages), 0.2, 0.2, seed=1)


@pytest.fixture(scope="module")
def learn(photos, plumages, settings, weights):
    set_seed(0)
    dls = make_dataloaders(photos, plumages, **settings, batch_size=8)
    learn = make_learner(create_network(weights, labels=list_classes(photos)), dls)
    head = head_learner(learn, embed_splits(learn, plumages))
    with head.no_bar(), head.no_logging():
        head.fit(8, 1e-2)
    return learn


@pytest.fixture(scope="module")
def plumage_run(learn, photos, plumages, tmp_path_factory):
    out = tmp_path_factory.mktemp("plumage-run")
    options = UncertaintyOptions(ood_score="mean_logits")
    export_model(learn.network, photos, plumages, FACTS, out, options)
    return out


def test_each_plumage_is_in_every_split_and_labels_are_species(photos):
    assert sorted(photos["label"].unique()) == SPECIES
    assert set(photos["subclass"]) == {name.replace("_", " ") for name in FOLDERS}
    counts = photos.groupby(["subclass", "split"]).size().unstack()
    assert (counts[["valid", "calibration"]] == 2).all(axis=None)
    assert list(list_classes(photos).values()) == [SPECIES[n] for n in (0, 1, 1, 1, 2)]


def test_folders_without_plumages_have_no_column_for_them(table):
    assert "subclass" not in table


def test_a_plumage_with_too_few_photos_is_named(photos):
    few = photos.drop(photos.index[photos["subclass"] == "Dabbling Inkling (male)"][2:])
    with pytest.raises(DatasetError, match=r"too few in: Dabbling Inkling \(male\) \(2\)"):
        split_photos(few.assign(split="train"))


def test_the_file_sums_plumages_to_species(plumage_run):
    network, classifier = Network.load(plumage_run), Classifier(plumage_run / "birds.onnx")
    assert (classifier.labels, network.labels) == (SPECIES, SPECIES)
    assert classifier.card["subclasses"] == network.subclasses
    logits, _ = network.forward_pixels(PIXELS)
    by_class = (logits / classifier.card["temperature"]).softmax(1).numpy()
    assert by_class.shape == (5, 5)
    expected = np.stack([by_class[:, 0], by_class[:, 1:4].sum(1), by_class[:, 4]], 1)
    assert classifier.predict(PIXELS).probability == pytest.approx(expected, abs=1e-4)


def test_the_heat_map_of_a_species_is_grad_cam_of_its_plumages(learn):
    network = learn.network
    graph = Graph(network)
    features, _ = graph.features(torch.from_numpy(PIXELS))
    features = features.detach().requires_grad_()
    logits = network.head(features)
    species = torch.stack([logits[:, 0], logits[:, 1:4].logsumexp(1), logits[:, 4]], 1)
    gradient = torch.autograd.grad(species.amax(1).sum(), features)[0].mean((2, 3), keepdim=True)
    expected = (features * gradient).sum(1).relu()
    expected /= expected.amax((1, 2), keepdim=True)
    _, _, heatmap, _ = graph(torch.from_numpy(PIXELS))
    assert torch.allclose(heatmap, expected, atol=1e-3)


def test_accuracy_of_the_species_is_reported_by_plumage(plumage_run, learn, photos, plumages):
    card = Classifier(plumage_run / "birds.onnx").card
    assert sorted(card["accuracy_by_subclass"]) == PLUMAGES
    assert all(each["n"] == 2 for each in card["accuracy_by_subclass"].values())
    (predictions,) = predict([learn.network], photos[photos["split"] == "train"], plumages)
    male = predictions.table.query("subclass == 'Dabbling Inkling (male)'")
    accuracy = accuracy_by_subclass(predictions)["Dabbling Inkling (male)"]
    assert accuracy["value"] == pytest.approx((male["label"] == male["predicted"]).mean(), abs=1e-4)
    assert accuracy["n"] == len(male) == 8


def test_metrics_of_the_fit_are_those_of_species(learn, photos, plumages):
    (predictions,) = predict([learn.network], photos[photos["split"] == "valid"], plumages)
    with learn.no_bar(), learn.no_logging():
        _, accuracy, top_5, _ = learn.validate()
    assert accuracy == pytest.approx(predictions.correct.mean())
    assert top_5 == 1  # of three species
    assert learn.metrics[0].name == "accuracy"


def test_a_head_of_other_plumages_is_refused(plumage_run, weights):
    labels = {"Dabbling Inkling (male)": "Dabbling Inkling", "Night Inkling": "Night Inkling"}
    with pytest.raises(WeightsError, match="other labels"):
        load_head(create_network(weights, labels=labels), plumage_run / "birds.safetensors")
    again = create_network(weights, labels=Network.load(plumage_run).subclasses)
    load_head(again, plumage_run / "birds.safetensors")


def test_a_network_of_species_is_refused_for_photos_of_plumages(learn):
    with pytest.raises(NetworkError, match="5 labels and the network 3"):
        make_learner(create_network("random", ARCH, labels=SPECIES), learn.dls)
