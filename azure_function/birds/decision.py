"""Decide the answer for one photo: a species, a shortlist of species, or an unknown bird."""

import numpy as np

from .prediction_set import prediction_set

MAX_NAMED = 3  # species that the text of a shortlist names before it counts the rest
HIGHER_RANKS = ("genus", "family", "order")  # lowest first


def decide_answer(probability: np.ndarray, unknown: float, card: dict) -> dict:
    """Return the API's `answer` for one photo: kind, labels, text, taxon and unknown_score.

    `probability` [C] and the scalar `unknown` are the model's outputs, `card` its model card.
    Without thresholds in the card the answer is always a species.
    """
    thresholds = card.get("thresholds") or {}
    threshold = unknown_threshold(card)
    indices = prediction_set(probability, thresholds.get("shortlist"))
    labels, taxon = [card["labels"][index] for index in indices], None
    if threshold is not None and unknown > threshold:
        kind, labels = "unknown", []
        text = f"I don't know this bird: it is unlike the {len(probability)} that I learned."
    elif len(labels) == 1:
        kind = "species"
        text = f"{labels[0]['common_name']}, {format_percent(float(probability[indices[0]]))} sure."
    else:
        kind, taxon = "shortlist", shared_taxon(labels)
        text = shortlist_text(labels, probability[indices], taxon)
    return {
        "kind": kind,
        "labels": [label["label"] for label in labels],
        "text": text,
        "taxon": taxon,
        "unknown_score": float(unknown),
    }


def unknown_threshold(card: dict) -> float | None:
    """Return the score over which a photo is called unknown, None if the card has none."""
    rule = (card.get("thresholds") or {}).get("unknown")
    return rule["threshold"] if rule else None


def shortlist_text(labels: list[dict], probability: np.ndarray, taxon: dict | None) -> str:
    """Return a sentence with the first species of a shortlist and the taxon they share, if any."""
    names = [
        f"{label['common_name']} {format_percent(value)}"
        for label, value in zip(labels, probability, strict=True)
    ]
    listed = ", ".join(names[:MAX_NAMED])
    if len(names) > MAX_NAMED:
        listed += f" or {len(names) - MAX_NAMED} more"
    if not taxon:
        return f"One of {len(labels)} species: {listed}."
    return f"{taxon['text']}, species unsure: {listed}."


def covering_taxon(labels: list[dict]) -> dict | None:
    """Return the smallest taxon that contains all labels of a prediction set: rank and name.

    `rank` is species, genus, family or order. Labels have the keys of a model card; one label is a
    species, named by its scientific name, or by its common name without one. None for no label, and
    where no known taxon contains all. Its coverage is at least that of the set.
    """
    species = {label.get("scientific_name") or label["common_name"] for label in labels}
    if len(species) == 1:
        return {"rank": "species", "name": species.pop()}
    return covering_higher_taxon(labels)


def covering_higher_taxon(labels: list[dict]) -> dict | None:
    """Return the lowest of genus, family and order that all labels share: rank and name."""
    for rank in HIGHER_RANKS:
        names = {label.get(rank) for label in labels}
        if len(names) == 1 and (name := names.pop()):
            return {"rank": rank, "name": name}
    return None


def shared_taxon(labels: list[dict]) -> dict | None:
    """Return the taxon that all labels of a shortlist share: rank, name and text; or None."""
    if not (taxon := covering_higher_taxon(labels)):
        return None
    return taxon | {"text": taxon_text(labels, **taxon)}


def taxon_text(labels: list[dict], rank: str, name: str) -> str:
    """Return "A gull" if all common names end in "Gull", else "Of the genus Larus"."""
    last_words = {label["common_name"].split()[-1].lower() for label in labels}
    if len(last_words) > 1:
        return f"Of the {rank} {name}"
    noun = last_words.pop()
    return f"{'An' if noun[0] in 'aeiou' else 'A'} {noun}"


def format_percent(probability: float) -> str:
    """Format a probability in whole per cent; never as 0 % or 100 %."""
    if probability >= 0.995:
        return "over 99 %"
    if probability < 0.01:
        return "less than 1 %"
    return f"{probability:.0%}".replace("%", " %")
