"""Decide what to tell a person: a species, a few that it may be, or that it isn't known."""

import numpy as np

from .shortlist import shortlist

NAMED = 3  # labels that a sentence names before it counts the rest


def verdict(probability: np.ndarray, unknown: float, card: dict) -> dict:
    """Return `kind`, `labels`, `text`, `taxon` and `unknown_score` for one photo.

    `probability` [C] and `unknown` are the model's, `card` its model card. A model without
    thresholds always names one species.
    """
    thresholds = card.get("thresholds") or {}
    strange = thresholds.get("unknown")
    listed = [
        card["labels"][place] for place in shortlist(probability, thresholds.get("shortlist"))
    ]
    sure = np.sort(probability)[::-1][: len(listed)]
    taxon = shared(listed) if len(listed) > 1 else None
    if strange and unknown > strange["threshold"]:
        kind, listed, taxon = "unknown", [], None
        text = f"I don't know this bird: it is unlike the {len(probability)} that I learned."
    elif len(listed) == 1:
        kind, text = "species", f"{listed[0]['common_name']}, {percent(sure[0])} sure."
    else:
        kind, text = "shortlist", several(listed, sure, taxon)
    return {
        "kind": kind,
        "labels": [each["label"] for each in listed],
        "text": text,
        "taxon": taxon,
        "unknown_score": float(unknown),
    }


def several(listed: list[dict], sure: np.ndarray, taxon: dict | None) -> str:
    """Name what a photo may show, the likeliest first, and what all of them are."""
    names = [f"{each['common_name']} {percent(p)}" for each, p in zip(listed, sure, strict=True)]
    told = ", ".join(names[:NAMED])
    if len(names) > NAMED:
        told += f" or {len(names) - NAMED} more"
    if not taxon:
        return f"One of {len(listed)} species: {told}."
    return f"{taxon['text']}, species unsure: {told}."


def shared(listed: list[dict]) -> dict | None:
    """Return the genus, or else the family, that all labels are of, if their facts tell of one."""
    for rank in ("genus", "family"):
        names = {each.get(rank) for each in listed}
        if len(names) == 1 and (name := names.pop()):
            return {"rank": rank, "name": name, "text": called(listed, rank, name)}
    return None


def called(listed: list[dict], rank: str, name: str) -> str:
    """Say what birds of one genus or family are called: a gull, if all their names end so."""
    ends = {each["common_name"].split()[-1].lower() for each in listed}
    if len(ends) > 1:
        return f"Of the {rank} {name}"
    noun = ends.pop()
    return f"{'An' if noun[0] in 'aeiou' else 'A'} {noun}"


def percent(probability: float) -> str:
    """Write a probability as people say it; nothing is ever 0 or 100 % sure."""
    if probability >= 0.995:
        return "over 99 %"
    if probability < 0.01:
        return "less than 1 %"
    return f"{probability:.0%}".replace("%", " %")
