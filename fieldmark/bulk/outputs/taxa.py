"""Scientific names of rows, and the taxa of a data package."""

from collections.abc import Iterable

from birds.decision import HIGHER_RANKS

BIRDS = "Aves"


def observed_taxon(row: dict) -> str | None:
    """Return the scientific name of what a row's photo shows, None if that is not known.

    A shortlist has the smallest taxon that contains all of it. Something unknown that the finder
    found is a bird.
    """
    if row["kind"] == "species":
        return row["scientific_name"]
    if row["kind"] == "shortlist":
        return row["taxon"] or BIRDS
    return BIRDS if row["boxes"] else None


def list_taxa(labels: Iterable[dict]) -> dict[str, dict]:
    """Return all taxa that labels belong to as Camtrap DP describes them, by scientific name."""
    bird = {"kingdom": "Animalia", "phylum": "Chordata", "class": BIRDS}
    taxa = {BIRDS: {"scientificName": BIRDS, "taxonRank": "class"} | bird}
    for label in labels:
        higher = {rank: label[rank] for rank in reversed(HIGHER_RANKS) if label.get(rank)}
        for rank, name in higher.items():
            above = {
                r: n for r, n in higher.items() if HIGHER_RANKS.index(r) >= HIGHER_RANKS.index(rank)
            }
            taxa.setdefault(name, {"scientificName": name, "taxonRank": rank} | bird | above)
        if name := label.get("scientific_name"):
            rank = "subspecies" if len(name.split()) == 3 else "species"
            taxon = {"scientificName": name, "taxonRank": rank} | bird | higher
            if common := label.get("common_name"):
                taxon["vernacularNames"] = {"eng": common}
            taxa[name] = taxon
    return taxa
