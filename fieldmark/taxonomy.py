"""Scientific names, genera, families and orders of labels, read from the package `birdnames`.

The taxa are those of AviList 2025 (CC BY 4.0). Names of eBird's list of 2024 find them too, where
both lists have the same species. Names are compared, never guessed.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from typing import NamedTuple

from fieldmark.errors import UserError

PACKAGE = "birdnames"
KEYS = ("scientific_name", "common_name", "genus", "family", "order")
NAMES = ("scientific_name", "common_name", "label")  # of a label, in the order they are looked up
NUMBER = re.compile(r"^\s*\d+[\s._-]+")  # as of the folder 001.Black_footed_Albatross
SPELLINGS = {"gray": "grey"}
MAX_LISTED = 10  # unmatched labels in a message

Label = str | Mapping[str, str | None]


class TaxonomyError(UserError):
    """The taxonomy is not installed, or of a version that cannot be read."""


class Matches(NamedTuple):
    """What `Taxonomy.match` found: for each label a dict of KEYS or None, and labels without."""

    taxa: list[dict[str, str] | None]
    unmatched: list[str]

    @property
    def message(self) -> str | None:
        """Return a sentence that names the unmatched labels, None if there are none."""
        if not self.unmatched:
            return None
        listed = ", ".join(self.unmatched[:MAX_LISTED])
        if len(self.unmatched) > MAX_LISTED:
            listed += f" and {len(self.unmatched) - MAX_LISTED} more"
        return (
            f"{len(self.unmatched)} of {len(self.taxa)} labels are no bird in AviList 2025: "
            f"{listed}. Name them by their scientific or English name to know their taxa."
        )


class Taxonomy:
    """Species by their scientific and English names; `load` reads it.

    `names` maps the keys that `name_keys` makes of names to rows of `species`.
    """

    def __init__(self, species: list[dict], names: dict[str, int]):
        self.species, self.names = species, names

    @classmethod
    def load(cls) -> "Taxonomy":
        """Return the installed taxonomy, read once; raises TaxonomyError."""
        return load_taxonomy()

    def match(self, labels: Sequence[Label]) -> Matches:
        """Find the species of labels: names, or dicts as in a model card.

        Of a dict the scientific name decides, else the common name, else the label; a subspecies
        counts as its species. Case, accents, spaces, underscores, hyphens, apostrophes, the s of a
        possessive (Anna Hummingbird), gray or grey and a number in front do not matter.
        """
        found = [self.find(label) for label in labels]
        pairs = zip(labels, found, strict=True)
        unmatched = [name_of(label) for label, taxa in pairs if taxa is None]
        return Matches(found, unmatched)

    def find(self, label: Label) -> dict[str, str] | None:
        """Return the taxa of one label, None for a name that the taxonomy does not have."""
        values = [label] if isinstance(label, str) else [label.get(key) for key in NAMES]
        for name in filter(None, values):
            row = self.names.get(next(name_keys(name)), self.find_subspecies(name))
            if row is not None:
                return dict(self.species[row])
        return None

    def find_subspecies(self, name: str) -> int | None:
        """Return the row of the species of a scientific name of three words, None for others."""
        words = re.split(r"[\s_]+", name.strip())
        key = next(name_keys(" ".join(words[:2])))
        row = self.names.get(key) if len(words) == 3 else None
        if row is None or next(name_keys(self.species[row]["scientific_name"])) != key:
            return None
        return row


def name_of(label: Label) -> str:
    """Return the text of a label that is a text or a dict."""
    return label if isinstance(label, str) else str(label.get("label"))


def name_keys(name: str) -> Iterator[str]:
    """Yield the letters that identify a name, then those without the s of a possessive, if any."""
    text = unicodedata.normalize("NFKD", NUMBER.sub("", name)).casefold().replace("’", "'")
    for form in dict.fromkeys((text, re.sub(r"'s\b", "", text))):
        words: list[str] = re.findall(r"[^\W\d_]+", form.replace("'", ""))
        yield "".join([SPELLINGS.get(word) or word for word in words])


@cache
def load_taxonomy() -> Taxonomy:
    """Read the tables of the package `birdnames`; raises TaxonomyError."""
    if not is_installed():
        raise TaxonomyError(
            f"Taxa come from the package {PACKAGE}, which is not installed. Install it: "
            f"pip install {PACKAGE}"
        )
    from birdnames.utils import load_taxonomy as read  # pyright: ignore[reportMissingTypeStubs]

    try:
        avilist, ebird = read("avilist", 2025), read("ebird", 2024)
        species = avilist[avilist["avilist_taxon_rank"] == "species"]
        columns = {f"avilist_{key}": key for key in ("common_name", "family", "order")}
        species = species.rename(columns=columns)[list(KEYS)].reset_index(drop=True)
        other = dict(zip(ebird["scientific_name"], ebird["ebird_common_name"], strict=True))
    except (FileNotFoundError, KeyError) as error:
        raise TaxonomyError(
            f"This version of the package {PACKAGE} has no tables of AviList 2025 and eBird 2024. "
            f"Install another one: pip install '{PACKAGE}==0.1.3'"
        ) from error
    scientific = list(species["scientific_name"])
    english = [list(species["common_name"]), [other.get(name, "") for name in scientific]]
    return Taxonomy(species.to_dict("records"), index_names(scientific, english))


def index_names(scientific: list[str], english: list[list[str]]) -> dict[str, int]:
    """Return the row of each name, from lists with the names of all rows.

    Earlier lists win, and names that a list has for two species are left out.
    """
    index = {next(name_keys(name)): row for row, name in enumerate(scientific)}
    for is_full in (True, False):  # then without the s of a possessive
        for names in english:
            rows: dict[str, set[int]] = {}
            for row, name in enumerate(names):
                full, *short = name_keys(name)
                for key in [full] if is_full else short:
                    rows.setdefault(key, set()).add(row)
            index = {key: row.pop() for key, row in rows.items() if key and len(row) == 1} | index
    return index


def is_installed() -> bool:
    """Return whether the package of the taxonomy is installed."""
    return find_spec(PACKAGE) is not None


def complete_labels(labels: Sequence[Mapping]) -> list[dict]:
    """Return the labels of a model card with what they lack of their taxa.

    What a label has stays. Without the package `birdnames`, and for labels that it does not have,
    the missing values are None.
    """
    taxa = Taxonomy.load().match(labels).taxa if is_installed() else [None] * len(labels)
    return [complete_label(label, each) for label, each in zip(labels, taxa, strict=True)]


def describe_unmatched(labels: Sequence[Label]) -> str | None:
    """Return a sentence on labels without taxa, None without any or without the package."""
    return Taxonomy.load().match(labels).message if is_installed() else None


def complete_label(label: Mapping, taxa: Mapping[str, str] | None) -> dict:
    """Return a label with the KEYS that it lacks, from its taxa, if any."""
    given = {key: value for key, value in label.items() if value is not None}
    completed = dict.fromkeys(KEYS) | dict(taxa or {}) | given
    return {key: completed[key] for key in dict.fromkeys((*label, *KEYS))}
