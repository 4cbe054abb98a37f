"""Understand the names that a person writes for what a photo shows."""

from difflib import get_close_matches
from typing import NamedTuple

from fieldmark.errors import UserError

NONE = "none"  # no bird
OTHER = "other"  # a species that the model does not know; other: NAME names it


class AuditError(UserError):
    """A table of checked photos has a mistake, or is too small."""


class Species(NamedTuple):
    """What a person saw: the number of a label, or else `other` (with its name) or `none`."""

    label: int | None
    answer: str  # as it is written in a table

    @property
    def name(self) -> str:
        """The name of a species that the model does not know, "" if it has none."""
        return self.answer.partition(":")[2].strip() if self.label is None else ""

    @property
    def is_bird(self) -> bool:
        """Whether the photo shows a bird."""
        return self.answer != NONE


class Names:
    """All names of a model's labels: the label itself, common and scientific, in any case."""

    def __init__(self, cards: list[dict]):
        self.labels = [card["label"] for card in cards]
        self.numbers: dict[str, int] = {}
        for key in ("scientific_name", "common_name", "label"):
            for number, card in enumerate(cards):
                if card.get(key):
                    self.numbers[simplify(card[key])] = number

    def parse(self, text: str, place: str) -> Species | None:
        """Return the species that a text means, None if it is empty.

        Raises AuditError for a name that is none of a label, which starts with `place`.
        """
        text = " ".join(text.split())
        if not text:
            return None
        if simplify(text) in self.numbers:
            number = self.numbers[simplify(text)]
            return Species(number, self.labels[number])
        kind, _, name = text.partition(":")
        if kind.strip().lower() == OTHER:
            name = name.strip()
            if simplify(name) in self.numbers:
                raise AuditError(f"{place}: the model knows {name}. Write {name}, without other.")
            return Species(None, f"{OTHER}: {name}" if name else OTHER)
        if text.lower() == NONE:
            return Species(None, NONE)
        close = get_close_matches(simplify(text), self.numbers, 1, 0.6)
        meant = f" Did you mean {self.labels[self.numbers[close[0]]]}?" if close else ""
        raise AuditError(
            f"{place}: {text} is no species of the model.{meant} Write one of its names, other: "
            f"{text} for a species that it does not know, or none if there is no bird."
        )


def simplify(name: str) -> str:
    """Return a name without the differences that do not matter."""
    return " ".join(name.replace("_", " ").casefold().split())
