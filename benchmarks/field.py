"""Measure a model on photos as people take them: small birds, whole photos, no bird at all.

    FIELDMARK_PHOTOS=... FIELDMARK_NOT_BIRDS=... python -m benchmarks.field [RUN]
        [--whole FOLDER] [--other FOLDER]

RUN is a folder with birds.onnx and split.csv. Its `calibration` photos are measured as they are,
and pasted at shares of the shorter side of photos without birds, with hard edges and as an ellipse
that fades and cuts into the bird. --whole is a folder of whole photos, one folder a species; those
that overlap.csv lists are left out. --other is a folder of other species. All are measured with the
finder (FIELDMARK_FINDER, or the published one) as the function does by default, and on their middle
square, with the thresholds of the card. No bird was pasted before on the photos without birds.
"""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from benchmarks.results import MODEL, RunFolder, Save, number, report
from birds.classifier import Classifier
from birds.decoding import SUFFIXES
from birds.finder import Finder
from export.held_out import hold_out_grounds
from fieldmark.data.run_photos import find_run_photos
from fieldmark.errors import UserError
from fieldmark.evaluation.guarantees import measure_answers
from fieldmark.evaluation.predictions import PhotoSource
from fieldmark.evaluation.predictor import Predictor
from fieldmark.evaluation.search import search_photos
from fieldmark.evaluation.thresholds import apply_thresholds
from fieldmark.evaluation.uncertainty import UncertaintyOptions, list_unfamiliar
from fieldmark.finder.field_photos import paste_photo
from fieldmark.finder.pasting import Edge
from fieldmark.finder.photo_versions import choose_ground, seed_generator
from fieldmark.run import Run

OVERLAP = Path(__file__).with_name("overlap.csv")
SHARES = (1.0, 0.7, 0.5, 0.35, 0.25)
EDGES: tuple[Edge, ...] = ("hard", "ellipse")
FIGURES = {
    "accuracy": "first prediction right",
    "known_rejection_rate": "called unknown",
    "accuracy_of_answered": "right of those answered",
    "coverage": "prediction sets that contain the species",
}
NO_FIGURE = "none"  # of answered photos, where all are called unknown
Group = tuple[str, pd.DataFrame, PhotoSource]


def main(
    run: RunFolder = MODEL,
    whole: Annotated[Path | None, typer.Option(help="Whole photos by species.")] = None,
    other: Annotated[Path | None, typer.Option(help="Photos of other species.")] = None,
    overlap: Annotated[Path, typer.Option(help="Whole photos to leave out.")] = OVERLAP,
    photos: Annotated[int, typer.Option(help="Measure at most so many crops.")] = 300,
    save: Save = False,
) -> None:
    """Print how a model does with its finder and without, by the bird's share of the frame."""
    opened = Run(run)
    classifier = Classifier(opened.model_file)
    card, predictor = classifier.card, Predictor.of_file(classifier)
    recipe = card["recipe"] | {"not_birds": ""}  # only FIELDMARK_NOT_BIRDS names the folder
    options = UncertaintyOptions.from_recipe(recipe, card.get("open_set_run"))
    if not options.finder:
        raise UserError("There is no finder. Set FIELDMARK_FINDER to its file.")
    finders, rows = (Finder(options.finder), None), []
    groups = list_groups(opened, hold_out_grounds(options), photos)
    if whole:
        known = list_whole_photos(whole, opened.labels, overlap)
        groups = itertools.chain(groups, [("whole photos", known, whole)])
    if other:
        groups = itertools.chain(groups, [list_files("other species", find_files(other))])
    for name, table, source in groups:
        searched = [search_photos(table, source, finder, predictor) for finder in finders]
        applied = [apply_thresholds(found, card["thresholds"]) for found in searched]
        measured = [measure_answers(each) for each in applied]
        is_known = table["label"].notna().all()
        keys = FIGURES if is_known else ["known_rejection_rate"]
        cells = {key: " / ".join(format_figure(each, key) for each in measured) for key in keys}
        rows.append([name, f"{len(table):,}", *(cells.get(key, "") for key in FIGURES)])
    columns = ["% with the finder / of the middle square", "n", *FIGURES.values()]
    command = "python -m benchmarks.field --whole WHOLE --other OTHER"
    report("field", command, columns, rows, save)


def format_figure(figures: dict, key: str) -> str:
    """Format a proportion in per cent with its interval."""
    return number(figures[key], 1, 100) if key in figures else NO_FIGURE


def list_groups(run: Run, options: UncertaintyOptions, count: int) -> Iterator[Group]:
    """Yield the name of each group of photos, their table, and where their bytes are."""
    folder, photos = find_run_photos(run), run.split.query("split == 'calibration'")
    photos = photos.sample(min(count, len(photos)), random_state=0)
    yield "crops as they are", photos, folder
    unfamiliar = list_unfamiliar(photos, options).query("reports")
    grounds = [Path(path) for path in unfamiliar["path"]]
    for edge in EDGES:
        for share in SHARES:
            pasted = paste_all(photos, folder, grounds, share, edge)
            yield f"pasted at {share:g} of the side, {edge}", photos, pasted
    if grounds:
        yield list_files("no bird", grounds)


def list_files(name: str, files: list[Path]) -> Group:
    """Return photos of no species that the model has as a group."""
    paths = [file.as_posix() for file in files]
    return name, pd.DataFrame({"path": paths, "label": None, "split": name}), Path()


def paste_all(
    photos: pd.DataFrame, folder: Path, grounds: list[Path], share: float, edge: Edge
) -> Mapping[str, bytes]:
    """Paste each photo on one of the grounds, or on a drawn one, at a place that its path sets."""
    pasted = {}
    for path in photos["path"]:
        rng = seed_generator(f"{path} at {share}, {edge}")
        ground = choose_ground(rng, grounds)
        pasted[path] = paste_photo((folder / path).read_bytes(), ground, share, edge, rng)
    return pasted


def list_whole_photos(folder: Path, labels: frozenset[str], overlap: Path) -> pd.DataFrame:
    """List whole photos of the model's species, without those of which it may know the crop."""
    listed = set(pd.read_csv(overlap)["photo"])
    files = [file for file in find_files(folder) if file.stem not in listed]
    table = pd.DataFrame({"path": [file.relative_to(folder).as_posix() for file in files]})
    table["label"] = [file.parent.name.replace("_", " ") for file in files]
    return table[table["label"].isin(labels)].assign(split="whole")


def find_files(folder: Path) -> list[Path]:
    """Return the photos below a folder, sorted."""
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)


if __name__ == "__main__":
    typer.run(main)
