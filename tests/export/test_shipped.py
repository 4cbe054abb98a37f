"""The model that is in the repository: small, licensed, and as good as it says."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import PIL
import pytest
import timm
import torch
import yaml
from fastai.vision.all import create_head
from fastai.vision.learner import TimmBody
from safetensors.torch import load_file

from birds import drawn
from birds.classifier import Classifier
from birds.crops import propose_crops
from birds.finder import Finder
from birds.identifier import Identifier
from birds.photo import prepare
from birds.prediction import DEFAULT_OPTIONS, classify_photo
from birds.workers.decoder import Decoded
from export import finder_input
from fieldmark.network.preparation import Preparation
from fieldmark.network.weights import weights_digest
from fieldmark.recipe import Recipe
from fieldmark.recipe.renamed import rename_keys
from tests.conftest import ROOT

MODEL = ROOT / "azure_function/model"
PHOTOS = Path(os.environ.get("FIELDMARK_PHOTOS") or ROOT.parent / "shared/data/cub100/train")
NOT_BIRDS = Path(os.environ.get("FIELDMARK_NOT_BIRDS") or ROOT.parent / "shared/data/not-birds")


@pytest.fixture(scope="module")
def classifier():
    return Classifier(MODEL / "birds.onnx")


@pytest.fixture(scope="module")
def finder(classifier):
    """Return the finder that the card names, None if it names none."""
    return Finder(MODEL / "finder.onnx") if classifier.card.get("finder") else None


def test_the_files_are_below_20_mb_together():
    assert sum(file.stat().st_size for file in MODEL.glob("*.onnx")) < 20_000_000


def test_the_card_says_what_it_knows_and_who_may_use_it(classifier):
    card = classifier.card
    assert len(classifier.labels) == 100
    assert all(each["scientific_name"] and each["family"] for each in card["labels"])
    assert "non-commercial research and teaching" in card["licence"]
    assert "Caltech-UCSD Birds-200-2011" in card["trained_on"]
    assert card["architecture"].startswith("tf_efficientnet")
    assert card["thresholds"]["shortlist"]["level"] == 0.95
    if open_set_run := card["open_set_run"]:
        assert {"not_birds", "unseen"} == set(open_set_run["out_of_distribution"])
    assert "not_birds" in card["out_of_distribution"]
    assert card["heatmap"] == {"height": 7, "width": 7}


def test_photos_are_prepared_as_when_it_was_made(classifier, finder):
    preparation = classifier.card["preparation"]
    assert preparation["pillow"] == PIL.__version__, "`make export` it with this Pillow"
    assert preparation["sha256"] == Preparation.from_card(classifier.card).fingerprints()
    if finder:
        assert finder.card["preparation"]["pillow"] == PIL.__version__
        assert finder.card["preparation"]["sha256"] == finder_input.fingerprints(finder.size)


def test_it_looks_where_it_was_calibrated_to_look(classifier, finder):
    """The card names the finder beside the file, and the crops of the drawn photos."""
    identifier, named = Identifier(classifier, finder), classifier.card.get("finder")
    assert identifier.mismatch is None
    assert ("field" in classifier.card) == (MODEL / "finder.onnx").is_file() == bool(named)
    for name, data in drawn.awkward_photos().items() if finder else ():
        photo = identifier.prepare(data)
        proposals = propose_crops(finder.find(photo), photo.width, photo.height)
        assert [list(crop.square) for crop in proposals] == named["crops"][name], name


def test_it_was_made_of_the_weights_recipe_and_split_beside_it(classifier):
    card, split = classifier.card, pd.read_csv(MODEL / "split.csv")
    assert card["version"].endswith(weights_digest(load_file(MODEL / "birds.safetensors"))[:8])
    assert sorted(card["data"]["photos"].values()) == sorted(split["split"].value_counts())
    kept = yaml.safe_load((MODEL / "recipe.yaml").read_text(encoding="utf-8"))
    assert rename_keys(card["recipe"]) == kept
    assert Recipe.load(MODEL / "recipe.yaml").arch == card["architecture"]
    assert f"{card['data']['photos']['train']:,} photos" in card["trained_on"]


def test_the_file_answers_as_the_weights_beside_it_do(classifier):
    """The weights, in the torch model that they came from, know nothing of the file."""
    split = pd.read_csv(MODEL / "split.csv", dtype=str)
    assert classifier.labels == sorted(split["label"].unique())
    card, count = classifier.card, len(classifier.labels)
    body = timm.create_model(card["architecture"], num_classes=0)
    head = create_head(body.num_features, count, lin_ftrs=[], concat_pool=False)
    model = torch.nn.Sequential(TimmBody(body), head).eval()
    model.load_state_dict(load_file(MODEL / "birds.safetensors"))
    mean, std = (torch.tensor(card["preparation"][key]).view(3, 1, 1) for key in ("mean", "std"))
    photos = np.stack([prepare(data, classifier.size) for data in drawn.awkward_photos().values()])
    with torch.no_grad():
        pixels = torch.from_numpy(photos).permute(0, 3, 1, 2) / 255
        logits = model((pixels - mean) / std) / card["temperature"]
    expected = logits.softmax(1).numpy()
    assert np.allclose(classifier.predict(photos).probability, expected, atol=1e-3)


@pytest.mark.real_photos
@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the photos it was trained on are not here")
def test_it_names_the_photos_it_was_judged_by_as_often_as_its_card_says(classifier, finder):
    split = pd.read_csv(MODEL / "split.csv")
    judged = split[split["split"] == "calibration"]
    right, listed, kinds = 0, 0, []
    for path, label in zip(judged["path"], judged["label"], strict=True):
        answer = answered(classifier, finder, PHOTOS / path)
        right += answer["predictions"][0]["label"] == label
        kinds.append(answer["answer"]["kind"])
        listed += kinds[-1] == "unknown" or label in answer["answer"]["labels"]
    accuracy = classifier.card["metrics"]["accuracy"]
    assert right == round(accuracy["value"] * accuracy["n"])
    level = classifier.card["thresholds"]["shortlist"]["level"]
    assert listed >= level * len(judged)
    rejected = classifier.card["thresholds"]["unknown"]["rejected"]
    weight = 0.5 if finder else 1  # of a photo; its pasted copies have the rest
    assert 0 < weight * kinds.count("unknown") <= rejected * len(judged)


def answered(classifier, finder, path):
    """Answer as the function does."""
    identifier = Identifier(classifier, finder)
    decoded = Decoded(identifier.prepare(path.read_bytes()), 0.0)
    return classify_photo(identifier, decoded, DEFAULT_OPTIONS, lambda: True)


@pytest.mark.real_photos
@pytest.mark.skipif(not NOT_BIRDS.is_dir(), reason="the photos of other things are not here")
def test_it_does_not_know_what_is_no_bird(classifier, finder):
    things = sorted(NOT_BIRDS.rglob("*.jpg"))
    kinds = [answered(classifier, finder, path)["answer"]["kind"] for path in things[::5]]
    assert kinds.count("unknown") >= 0.85 * len(kinds)
