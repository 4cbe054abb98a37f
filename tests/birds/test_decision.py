"""The answer for a person: a species, a shortlist, or an unknown bird."""

import numpy as np
import pytest

from birds.decision import covering_taxon, decide_answer, format_percent, shared_taxon
from birds.prediction_set import LAC, RAPS, prediction_set

BIRDS = {
    "Herring Gull": ("Larus", "Laridae"),
    "California Gull": ("Larus", "Laridae"),
    "Caspian Tern": ("Hydroprogne", "Laridae"),
    "Owl": (None, None),
    "Indigo Bunting": ("Passerina", "Cardinalidae"),
    "Blue Grosbeak": ("Passerina", "Cardinalidae"),
}
LABELS = [
    {"label": name, "common_name": name, "genus": genus, "family": family}
    for name, (genus, family) in BIRDS.items()
]
CARD = {
    "labels": LABELS,
    "thresholds": {
        "shortlist": {"method": LAC, "level": 0.95, "threshold": 0.8},
        "unknown": {"score": "energy", "rejected": 0.05, "threshold": 0.5},
    },
}


def decide(*probability, unknown=0.1, card=CARD):
    return decide_answer(np.array(probability, np.float32), unknown, card)


def test_one_label_that_is_probable_enough_is_the_species():
    answer = decide(0.9, 0.06, 0.01, 0.01, 0.01, 0.01)
    assert answer["kind"] == "species"
    assert answer["labels"] == ["Herring Gull"]
    assert "90 %" in answer["text"]
    assert answer["taxon"] is None


def test_a_shortlist_of_one_genus_is_named_by_the_last_word_of_its_species():
    answer = decide(0.4, 0.55, 0.02, 0.01, 0.01, 0.01)
    assert answer["kind"] == "shortlist"
    assert answer["labels"] == ["California Gull", "Herring Gull"]
    assert answer["taxon"] == {"rank": "genus", "name": "Larus", "text": "A gull"}
    assert answer["text"].startswith("A gull")
    assert answer["text"].index("California Gull 55 %") < answer["text"].index("Herring Gull 40 %")


@pytest.mark.parametrize(
    ("probability", "rank", "name"),
    [
        ((0.4, 0.02, 0.55, 0.01, 0.01, 0.01), "family", "Laridae"),
        ((0.01, 0.01, 0.01, 0.01, 0.4, 0.56), "genus", "Passerina"),
    ],
)
def test_a_shortlist_without_a_common_last_word_is_named_by_its_taxon(probability, rank, name):
    answer = decide(*probability)
    assert (answer["taxon"]["rank"], answer["taxon"]["name"]) == (rank, name)
    assert f"{rank} {name}" in answer["text"]


def test_a_shortlist_without_a_shared_taxon_says_how_many_species_it_has():
    answer = decide(0.3, 0.01, 0.01, 0.3, 0.38, 0.0)
    assert answer["taxon"] is None
    assert "3 species" in answer["text"]


def test_a_long_shortlist_counts_the_species_that_it_does_not_name():
    answer = decide(0.2, 0.2, 0.2, 0.0, 0.2, 0.2)
    assert len(answer["labels"]) == 5
    assert "2 more" in answer["text"]


def test_a_photo_over_the_threshold_is_unknown_however_high_the_probability():
    answer = decide(0.99, 0.01, 0, 0, 0, 0, unknown=0.51)
    assert (answer["kind"], answer["labels"], answer["taxon"]) == ("unknown", [], None)
    assert answer["unknown_score"] == 0.51
    assert decide(0.99, 0.01, 0, 0, 0, 0, unknown=0.5)["kind"] == "species"


@pytest.mark.parametrize("thresholds", [None, {"shortlist": None, "unknown": None}])
def test_without_thresholds_the_answer_is_always_a_species(thresholds):
    card = CARD | {"thresholds": thresholds}
    answer = decide(0.3, 0.2, 0.2, 0.1, 0.1, 0.1, unknown=99.0, card=card)
    assert (answer["kind"], answer["labels"]) == ("species", ["Herring Gull"])


def test_labels_without_taxonomy_share_no_taxon():
    assert shared_taxon([label | {"genus": None, "family": None} for label in LABELS[:2]]) is None


def test_the_covering_taxon_is_the_smallest_one_that_contains_every_label():
    ranks = ("scientific_name", "genus", "family", "order")
    tree = {
        "Blue Jay": ("Cyanocitta cristata", "Cyanocitta", "Corvidae", "Passeriformes"),
        "Steller's Jay": ("Cyanocitta stelleri", "Cyanocitta", "Corvidae", "Passeriformes"),
        "Raven": ("Corvus corax", "Corvus", "Corvidae", "Passeriformes"),
        "Wren": ("Troglodytes troglodytes", "Troglodytes", "Troglodytidae", "Passeriformes"),
        "Mallard": ("Anas platyrhynchos", "Anas", "Anatidae", "Anseriformes"),
    }
    labels = [
        {"label": name, "common_name": name, **dict(zip(ranks, taxa, strict=True))}
        for name, taxa in tree.items()
    ]
    covering = [covering_taxon(labels[:count]) for count in range(len(labels) + 1)]
    assert [taxon and (taxon["rank"], taxon["name"]) for taxon in covering] == [
        None,
        ("species", "Cyanocitta cristata"),
        ("genus", "Cyanocitta"),
        ("family", "Corvidae"),
        ("order", "Passeriformes"),
        None,
    ]
    assert covering_taxon([{"label": "x", "common_name": "Owl"}])["name"] == "Owl"
    assert covering_taxon([labels[0], labels[0] | {"label": "Blue Jay, young"}]) == covering[1]


def test_the_article_before_a_vowel_is_an():
    owls = [LABELS[0] | {"common_name": name} for name in ("Elf Owl", "Barn Owl")]
    assert shared_taxon(owls)["text"] == "An owl"


@pytest.mark.parametrize(
    ("probability", "text"),
    [(0.0, "less than 1 %"), (0.876, "88 %"), (0.9949, "99 %"), (1.0, "over 99 %")],
)
def test_no_probability_is_written_as_0_or_100_percent(probability, text):
    assert format_percent(probability) == text


@pytest.mark.parametrize("method", [LAC, RAPS])
def test_a_prediction_set_is_never_empty(method):
    rule = {"method": method, "threshold": -1.0}
    assert prediction_set(np.array([0.3, 0.4, 0.3]), rule).tolist() == [1]


def test_a_lac_set_has_the_labels_over_a_probability():
    rule = {"method": LAC, "threshold": 0.75}
    assert prediction_set(np.array([0.25, 0.5, 0.24, 0.01]), rule).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("probability", "expected"),
    [([0.05, 0.6, 0.3, 0.05], [1, 2]), ([0.05, 0.75, 0.1, 0.1], [1])],
)
def test_a_raps_set_grows_until_its_total_probability_is_over_the_threshold(probability, expected):
    rule = {"method": RAPS, "threshold": 0.7}
    assert prediction_set(np.array(probability), rule).tolist() == expected
