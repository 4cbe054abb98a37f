"""Measure the smallest taxon that covers a prediction set: how small it is, how often it is right.

    FIELDMARK_PHOTOS=... FIELDMARK_NOT_BIRDS=... python -m benchmarks.backoff [RUN]

RUN is a folder with birds.onnx and split.csv. Its `calibration` photos are measured as they are and
pasted, each with thresholds that the other nine of ten folds set, at the card's level and at a
higher one. A taxon contains every species of its set, so it is right at least as often as the set;
where no taxon is known to contain the set (`none`), the answer excludes no species.
"""

import numpy as np
import pandas as pd
import typer

from benchmarks.held_out import HeldOutModel
from benchmarks.results import MODEL, RunFolder, Save, percent, report
from birds.decision import HIGHER_RANKS, covering_taxon
from fieldmark.evaluation.thresholds import Applied, cross_fit
from fieldmark.statistics import wilson_interval
from fieldmark.taxonomy import complete_labels

HIGH_LEVEL = 0.99
RANKS = ("species", *HIGHER_RANKS, "none")
ALL = "any"
COLUMNS = ("photos", "level", "taxon", "share of the answers", "contains the species", "n")


def main(run: RunFolder = MODEL, save: Save = False) -> None:
    """Print how often each rank is the answer, and how often its taxon contains the species."""
    model = HeldOutModel.of_run(run)
    labels = complete_labels(model.card["labels"])
    proposals, rows = model.search_field_photos("calibration"), []
    is_pasted = ~np.isnan(proposals.share)
    rule = model.card["thresholds"]["shortlist"]
    for level in (rule["level"], HIGH_LEVEL):
        thresholds = model.card["thresholds"] | {"shortlist": rule | {"level": level}}
        applied = cross_fit(proposals, thresholds)
        for name, mask in (("as they are", ~is_pasted), ("pasted", is_pasted)):
            taxa = list_taxa(applied.select(mask & ~applied.rejected), labels)
            rows += [[name, f"{level:.0%}".replace("%", " %"), *row] for row in table_rows(taxa)]
    report("backoff", "python -m benchmarks.backoff", COLUMNS, rows, save)


def list_taxa(answered: Applied, labels: list[dict]) -> pd.DataFrame:
    """Return `rank` of each photo's taxon, whether it has the species, and whether the set has."""
    orders = (-answered.chosen.probability).argsort(1, kind="stable")
    rows = []
    for order, size, truth in zip(orders, answered.size, answered.chosen.truth, strict=True):
        taxon = covering_taxon([labels[index] for index in order[:size]])
        rows.append((taxon["rank"] if taxon else "none", contains(taxon, labels[truth])))
    table = pd.DataFrame(rows, columns=["rank", "contains"])
    return table.assign(covered=answered.covered)


def contains(taxon: dict | None, label: dict) -> bool:
    """Return whether a taxon has a species; what no taxon limits contains all."""
    if taxon is None:
        return True
    key = "scientific_name" if taxon["rank"] == "species" else taxon["rank"]
    return label[key] == taxon["name"]


def table_rows(taxa: pd.DataFrame) -> list[list[str]]:
    """Return the rows of the table: each rank that occurs, all of them, and the sets themselves."""
    rows = []
    for rank in RANKS:
        chosen = taxa[taxa["rank"] == rank]
        if len(chosen):
            share = percent(wilson_interval(len(chosen), len(taxa)))
            figures = cells(chosen["contains"])
            rows.append([rank, share, *(figures if rank != "none" else ["", figures[1]])])
    rows.append([ALL, "", *cells(taxa["contains"])])
    return [*rows, ["the set itself", "", *cells(taxa["covered"])]]


def cells(values: pd.Series) -> list[str]:
    """Return a proportion with its interval, and n."""
    return [percent(wilson_interval(int(values.sum()), len(values))), f"{len(values):,}"]


if __name__ == "__main__":
    typer.run(main)
