"""The model that is in the repository: small, licensed, and as good as it says."""

import os
from pathlib import Path

import pandas as pd
import PIL
import pytest
import yaml
from safetensors.torch import load_file

from birds.classifier import Classifier
from birds.photo import prepare
from export.card import fingerprints
from export.publish import digest
from tests.conftest import ROOT

MODEL = ROOT / "azure_function/model"
PHOTOS = Path(os.environ.get("FIELDMARK_PHOTOS") or ROOT.parent / "shared/data/cub100/train")


@pytest.fixture(scope="module")
def classifier():
    return Classifier(MODEL / "birds.onnx")


def test_the_file_is_below_20_mb():
    assert (MODEL / "birds.onnx").stat().st_size < 20_000_000


def test_the_card_says_what_it_knows_and_who_may_use_it(classifier):
    card = classifier.card
    assert len(classifier.labels) == 100
    assert all(each["scientific_name"] and each["family"] for each in card["labels"])
    assert "non-commercial research and teaching" in card["licence"]
    assert "Caltech-UCSD Birds-200-2011" in card["trained_on"]
    assert card["architecture"].startswith("tf_efficientnet")


def test_photos_are_prepared_as_when_it_was_made(classifier):
    preparation = classifier.card["preparation"]
    assert preparation["pillow"] == PIL.__version__, "`make export` it with this Pillow"
    assert preparation["sha256"] == fingerprints(preparation["size"])


def test_it_was_made_of_the_weights_recipe_and_split_beside_it(classifier):
    card, split = classifier.card, pd.read_csv(MODEL / "split.csv")
    assert card["version"].endswith(digest(load_file(MODEL / "birds.safetensors"))[:8])
    assert card["data"]["photos"] == split["split"].value_counts().to_dict()
    kept = yaml.safe_load((MODEL / "recipe.yaml").read_text(encoding="utf-8"))
    assert card["recipe"].items() <= kept.items()
    assert f"{card['data']['photos']['train']:,} photos" in card["trained_on"]


@pytest.mark.real_photos
@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the photos it was trained on are not here")
def test_it_names_the_photos_it_was_judged_by_as_often_as_its_card_says(classifier):
    split = pd.read_csv(MODEL / "split.csv")
    judged = split[split["split"] == "calibrate"]
    right = 0
    for path, label in zip(judged["path"], judged["label"], strict=True):
        pixels = prepare((PHOTOS / path).read_bytes(), classifier.size)[None]
        best = int(classifier.predict(pixels).probability[0].argmax())
        right += classifier.labels[best] == label
    accuracy = classifier.card["metrics"]["accuracy"]
    assert right == round(accuracy["value"] * accuracy["n"])
