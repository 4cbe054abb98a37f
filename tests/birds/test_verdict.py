"""What a person is told: a species, a few that it may be, or that it isn't known."""

import numpy as np
import pytest

from birds.shortlist import shortlist
from birds.verdict import shared, verdict

BIRDS = {
    "Herring Gull": ("Larus argentatus", "Laridae"),
    "California Gull": ("Larus californicus", "Laridae"),
    "Caspian Tern": ("Hydroprogne caspia", "Laridae"),
    "Owl": (None, None),
    "Indigo Bunting": ("Passerina cyanea", "Cardinalidae"),
    "Blue Grosbeak": ("Passerina caerulea", "Cardinalidae"),
}
LABELS = [
    {
        "label": name,
        "common_name": name,
        "scientific_name": scientific,
        "genus": scientific and scientific.split()[0],
        "family": family,
    }
    for name, (scientific, family) in BIRDS.items()
]
CARD = {
    "labels": LABELS,
    "thresholds": {
        "shortlist": {"method": "plain", "level": 0.95, "threshold": 0.8},
        "unknown": {"score": "energy", "rejected": 0.05, "threshold": 0.5},
    },
}


def told(*probability, unknown=0.1, card=CARD):
    return verdict(np.array(probability, np.float32), unknown, card)


def test_one_label_that_is_sure_enough_is_the_species():
    found = told(0.9, 0.06, 0.01, 0.01, 0.01, 0.01)
    assert found["kind"] == "species"
    assert found["labels"] == ["Herring Gull"]
    assert found["text"] == "Herring Gull, 90 % sure."
    assert found["taxon"] is None


def test_a_few_labels_of_one_genus_are_called_by_it():
    found = told(0.4, 0.55, 0.02, 0.01, 0.01, 0.01)
    assert found["kind"] == "shortlist"
    assert found["labels"] == ["California Gull", "Herring Gull"]
    assert found["text"] == "A gull, species unsure: California Gull 55 %, Herring Gull 40 %."
    assert found["taxon"] == {"rank": "genus", "name": "Larus", "text": "A gull"}


def test_labels_that_share_a_family_only_or_no_name_are_called_by_what_they_share():
    family = told(0.4, 0.02, 0.55, 0.01, 0.01, 0.01)
    assert family["taxon"]["rank"] == "family"
    assert family["text"].startswith("Of the family Laridae, species unsure: Caspian Tern 55 %")
    genus = told(0.01, 0.01, 0.01, 0.01, 0.4, 0.56)
    assert genus["text"].startswith("Of the genus Passerina, species unsure: Blue Grosbeak 56 %")


def test_labels_that_share_nothing_are_counted():
    found = told(0.3, 0.01, 0.01, 0.3, 0.38, 0.0)
    assert found["taxon"] is None
    assert found["text"] == "One of 3 species: Indigo Bunting 38 %, Herring Gull 30 %, Owl 30 %."


def test_a_long_list_names_the_likeliest_and_counts_the_rest():
    found = told(0.2, 0.2, 0.2, 0.0, 0.2, 0.2)
    assert len(found["labels"]) == 5
    assert found["text"].endswith("or 2 more.")


def test_a_stranger_than_the_threshold_is_unknown_however_sure_the_model_is():
    found = told(0.99, 0.01, 0, 0, 0, 0, unknown=0.51)
    assert (found["kind"], found["labels"], found["taxon"]) == ("unknown", [], None)
    assert found["text"] == "I don't know this bird: it is unlike the 6 that I learned."
    assert told(0.99, 0.01, 0, 0, 0, 0, unknown=0.5)["kind"] == "species"


@pytest.mark.parametrize("thresholds", [None, {"shortlist": None, "unknown": None}])
def test_without_thresholds_it_is_always_one_species(thresholds):
    found = told(0.3, 0.2, 0.2, 0.1, 0.1, 0.1, unknown=99.0, card=CARD | {"thresholds": thresholds})
    assert (found["kind"], found["labels"]) == ("species", ["Herring Gull"])


def test_labels_without_names_of_a_genus_share_none():
    nameless = [each | {"genus": None, "family": None} for each in LABELS[:2]]
    assert shared(nameless) is None


def test_an_article_is_right_before_a_vowel():
    owls = [each | {"common_name": f"{name} Owl"} for name, each in zip("AB", LABELS, strict=False)]
    assert shared(owls)["text"] == "An owl"


@pytest.mark.parametrize("method", ["plain", "adaptive"])
def test_the_first_answer_is_listed_even_where_nothing_is_sure_enough(method):
    rule = {"method": method, "threshold": -1.0}
    assert shortlist(np.array([0.3, 0.4, 0.3]), rule).tolist() == [1]


def test_a_plain_list_holds_what_is_likelier_than_its_threshold_leaves():
    rule = {"method": "plain", "threshold": 0.75}
    assert shortlist(np.array([0.25, 0.5, 0.24, 0.01]), rule).tolist() == [1, 0]


def test_an_adaptive_list_goes_on_until_it_holds_enough():
    rule = {"method": "adaptive", "threshold": 0.7}
    assert shortlist(np.array([0.05, 0.6, 0.3, 0.05]), rule).tolist() == [1, 2]
    assert shortlist(np.array([0.05, 0.75, 0.1, 0.1]), rule).tolist() == [1]
