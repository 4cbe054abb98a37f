"""Labels find their taxa by either name, and never by a similar one."""

import pytest

from birds.decision import covering_taxon
from export.card import describe_labels
from fieldmark import taxonomy
from fieldmark.taxonomy import Taxonomy, TaxonomyError, complete_labels

CATBIRD = ("Dumetella carolinensis", "Dumetella", "Mimidae", "Passeriformes")
RANKS = ("scientific_name", "genus", "family", "order")


@pytest.mark.parametrize(
    "name",
    [
        *("Gray Catbird", "grey catbird", "GRAY_CATBIRD", "gray-catbird", "021.Gray_Catbird"),
        *("Dumetella carolinensis", "dumetella_carolinensis"),
    ],
)
def test_a_label_is_found_by_either_name_however_it_is_written(name):
    (taxa,) = Taxonomy.load().match([name]).taxa
    assert taxa
    assert tuple(taxa[rank] for rank in RANKS) == CATBIRD


@pytest.mark.parametrize(
    "name", ["Anna's Hummingbird", "Annas Hummingbird", "067.Anna_Hummingbird"]
)
def test_an_apostrophe_may_be_missing_with_its_s(name):
    assert Taxonomy.load().find(name)["scientific_name"] == "Calypte anna"


def test_a_subspecies_counts_as_its_species():
    assert Taxonomy.load().find("Junco hyemalis oreganus")["scientific_name"] == "Junco hyemalis"


def test_names_that_are_only_similar_are_unmatched_and_reported():
    labels = ["Blue Jay", "Catbird", "Gray Catbirds", "Blue Jay young", "Dumetella", "", "12"]
    matches = Taxonomy.load().match(labels)
    assert matches.unmatched == labels[1:]
    assert [taxa is not None for taxa in matches.taxa] == [True] + [False] * 6
    assert "6 of 7 labels" in matches.message
    assert "Gray Catbirds" in matches.message
    assert Taxonomy.load().match(labels[:1]).message is None


def test_the_scientific_name_of_a_card_decides():
    label = {"label": "x", "common_name": "Blue Jay", "scientific_name": "Corvus corax"}
    assert Taxonomy.load().find(label)["common_name"] == "Northern Raven"
    assert Taxonomy.load().find(label | {"scientific_name": None})["genus"] == "Cyanocitta"


def test_labels_are_completed_and_keep_what_they_have():
    given = {"label": "a", "common_name": "My jay", "scientific_name": "Cyanocitta cristata"}
    labels = complete_labels([given | {"genus": None, "family": "Jays"}, {"label": "b"}])
    assert labels[0] == given | {
        **{"genus": "Cyanocitta", "family": "Jays", "order": "Passeriformes"},
    }
    assert labels[1] == {"label": "b"} | dict.fromkeys(("common_name", *RANKS))


def test_without_the_package_nothing_is_completed_and_a_message_says_why(monkeypatch):
    monkeypatch.setattr(taxonomy, "PACKAGE", "no_such_package")
    taxonomy.load_taxonomy.cache_clear()
    assert complete_labels([{"label": "Blue Jay"}])[0]["order"] is None
    with pytest.raises(TaxonomyError, match="pip install"):
        Taxonomy.load()


def test_an_exported_card_knows_the_orders_of_its_labels_and_reports_others(capsys):
    labels = describe_labels(["Blue Jay", "Common Raven", "Mallard", "Night Inkling"])
    assert [label["order"] for label in labels] == [*["Passeriformes"] * 2, "Anseriformes", None]
    assert labels[0]["common_name"] == "Blue Jay"
    assert "Night Inkling" in capsys.readouterr().out
    assert covering_taxon(labels[:2]) == {"rank": "family", "name": "Corvidae"}
    assert covering_taxon(labels[:3]) is None
