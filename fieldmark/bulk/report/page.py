"""Write the report: one HTML file with its pictures, that needs no network."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from birds.process import cpu_count
from fieldmark.bulk.html_page import write_template
from fieldmark.bulk.report.activity import chart_days, chart_hours, chart_months
from fieldmark.bulk.report.tables import NO_CAMERA, Photo, Summary, summarize
from fieldmark.bulk.results import Results
from fieldmark.bulk.thumbnails import Thumbnails, make_thumbnails

TEMPLATE = Path(__file__).with_name("report.html")
SIDE = 144  # pixels of a thumbnail


class Shown(NamedTuple):
    """A photo as the page shows it."""

    photo: Photo
    name: str
    thumbnail: Thumbnails


def write_report(
    file: Path, results: Results, counts: pd.DataFrame | None = None, max_sheets: int = 100
) -> None:
    """Write the report; `counts` are those of fieldmark.bulk.audit, with intervals.

    The `max_sheets` most frequent species have contact sheets.
    """
    summary = summarize(results)
    names = results.common_names
    labels = [label for label, _ in order(summary)][:max_sheets]
    sheets = [[*summary.most_certain_of[each], *summary.least_certain_of[each]] for each in labels]
    shown = [*summary.strangest, *summary.least_certain, *(p for sheet in sheets for p in sheet)]
    thumbnails = load_thumbnails(results, shown)

    def show(photos: list[Photo]) -> list[Shown]:
        return [Shown(each, names[each.label], thumbnails[each.path]) for each in photos]

    write_template(
        file,
        TEMPLATE,
        manifest=results.manifest,
        summary=summary,
        unreadable=summary.errors.total(),
        cameras=summary.cameras if set(summary.cameras) - {NO_CAMERA} else {},
        counts=count_rows(summary, names, results, counts),
        audited=counts is not None,
        charts={
            "day": chart_days(summary.days),
            "hour": chart_hours(summary.hours),
            "month": chart_months(summary.months),
        },
        sheets=[
            (names[label], summary.labels[label], *sheet)
            for label, sheet in zip(labels, split(show, summary, labels), strict=True)
        ],
        strangest=show(summary.strangest),
        least_certain=show(summary.least_certain),
        side=SIDE,
    )


def order(summary: Summary) -> list[tuple[str, int]]:
    """Return labels and their photos, most frequent first."""
    return sorted(summary.labels.items(), key=lambda item: (-item[1], item[0]))


def split(
    show: Callable[[list[Photo]], list[Shown]], summary: Summary, labels: list[str]
) -> list[tuple[list[Shown], list[Shown]]]:
    """Return the most and the least certain photos of each label."""
    most, least = summary.most_certain_of, summary.least_certain_of
    return [(show(most[label]), show(least[label])) for label in labels]


def load_thumbnails(results: Results, photos: list[Photo]) -> dict[str, Thumbnails]:
    """Return the thumbnails of photos by path; each photo is read once."""
    unique = {photo.path: photo for photo in photos}
    with ThreadPoolExecutor(cpu_count()) as pool:
        made = pool.map(lambda p: make_thumbnails(results, p.path, p.crop, SIDE), unique.values())
        return dict(zip(unique, made, strict=True))


def count_rows(
    summary: Summary, names: dict[str, str], results: Results, counts: pd.DataFrame | None
) -> list[dict]:
    """Return the rows of the table of counts, with `share`, the length of a bar.

    Those of an audit have `count`, `low` and `high`; others have `predicted` only.
    """
    if counts is None:
        scientific = {
            card["label"]: card.get("scientific_name") or "" for card in results.manifest["labels"]
        }
        rows = [
            {"name": names[label], "scientific_name": scientific[label], "predicted": count}
            for label, count in order(summary)
        ]
        top = max([row["predicted"] for row in rows], default=1)
        return [row | {"share": row["predicted"] / top} for row in rows]
    top = max([*counts["high"], 1])
    return [
        {key: row[key] for key in ("scientific_name", "predicted")}
        | {"name": names.get(row["species"], row["species"])}
        | {key: round(row[key]) for key in ("count", "low", "high")}
        | {"share": row["count"] / top, "start": row["low"] / top, "end": row["high"] / top}
        for row in counts.to_dict("records")
    ]
