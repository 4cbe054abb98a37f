"""Cross-validate averages of the weights before and after a fine-tuning, on `train` alone.

    FIELDMARK_PHOTOS=... FIELDMARK_NOT_BIRDS=... python -m benchmarks.averaging BASE FIELD
        [--share 0 --share 0.5 --share 1] [--folds 5] [--set KEY=VALUE]

For each fold the recipe BASE is trained on the photos of the others, then the recipe FIELD from
that network, in place of its `weights`. The photos of the fold are predicted, as they are and
pasted small, by averages in which the weights of BASE have each share: 0 is FIELD alone, 1 BASE
alone. The photos and their splits are those of BASE. An interrupted call continues with the fold
that it was in. Teachers must not have learned the photos; `--set "teacher={}"` trains without one.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from benchmarks.results import Save, number, report
from commands.train import check_inputs, parse_settings
from fieldmark.errors import RecipeError
from fieldmark.recipe import Recipe
from fieldmark.replacement import remove_entry
from fieldmark.run import Run, write_table
from fieldmark.run_folder import read_table
from fieldmark.training.averaging import average_networks
from fieldmark.training.cross_validation import (
    FOLDS,
    Fold,
    FoldTrainer,
    identify,
    split_folds,
)
from fieldmark.training.fit_recipe import load_split
from fieldmark.training.fold_predictions import COLUMNS, compare_views, summarize_views

SHARES = [0.0, 0.5, 1.0]
ALONE = {0.0: "FIELD alone", 1.0: "BASE alone"}
OUT = Path("runs/cross-validation/averaging")
File = Annotated[Path, typer.Argument(help="YAML file of parameters.")]


def main(
    base: File,
    field: File,
    share: Annotated[
        list[float], typer.Option(help="Share of the weights of BASE.", min=0, max=1)
    ] = SHARES,
    folds: Annotated[int, typer.Option(help="Number of folds.", min=2)] = FOLDS,
    settings: Annotated[
        list[str], typer.Option("--set", help="KEY=VALUE, replaces a parameter of both recipes.")
    ] = [],  # noqa: B006
    set_base: Annotated[list[str], typer.Option(help="The same for BASE only.")] = [],  # noqa: B006
    set_field: Annotated[list[str], typer.Option(help="For FIELD only.")] = [],  # noqa: B006
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = OUT,
    save: Save = False,
) -> None:
    """Print the accuracy of each share, and how much better it is than each recipe alone."""
    recipes = load_recipes(
        Recipe.load(base, parse_settings([*settings, *set_base])),
        Recipe.load(field, parse_settings([*settings, *set_field])),
    )
    for recipe in recipes:
        check_inputs(recipe)
    folder, split, survey = load_split(recipes[0])
    trainers = [FoldTrainer(recipe, folder, split, survey) for recipe in recipes]
    tables = []
    for fold in split_folds(split, folds, recipes[0].seed):
        trainers[0].check_start(fold)
        tables.append(predict_fold(trainers, fold, share, out))
        typer.echo(f"fold {fold.number}\n{summarize(tables[-1]).to_string()}\n")
    predictions = pd.concat(tables, ignore_index=True)
    write_table(out / "predictions.csv", predictions)
    summary, comparison = summarize(predictions), compare(predictions)
    for name, table in (("summary", summary), ("comparison", comparison)):
        write_table(out / f"{name}.csv", table.reset_index())
    typer.echo(f"{out}\n{summary.to_string()}\n\nPoints better\n{comparison.to_string()}\n")
    columns = [
        "% right, by the share of the start weights",
        *map("{:g}".format, sorted(share)),
        "n",
    ]
    command = f"python -m benchmarks.averaging {base} {field}"
    report("averaging", command, columns, list(format_rows(summary)), save)


def format_rows(summary: pd.DataFrame) -> Iterator[list[str]]:
    """Yield the accuracy by share of each view and edge, with its interval, and the number."""
    for view, rows in summary.groupby("view", sort=False):
        cells = [
            number({"value": row["accuracy"], "interval": (row["low"], row["high"])}, 1, 100)
            for _, row in rows.iterrows()
        ]
        yield [str(view), *cells, f"{int(rows['n'].iloc[0]):,}"]


def load_recipes(base: Recipe, field: Recipe) -> tuple[Recipe, Recipe]:
    """Return both recipes, FIELD so that it starts from BASE and is not averaged by itself.

    Raises RecipeError if they have different networks.
    """
    for key in ("arch", "arch_options"):
        if getattr(base, key) != getattr(field, key):
            raise RecipeError(f"The recipes have a different `{key}`, but share their weights.")
    unused = {"open_set_run": ""}
    start = {"weights": base.weights, "start_weights_share": 0.0}
    return base.model_copy(update=unused), field.model_copy(update=unused | start)


def predict_fold(
    trainers: list[FoldTrainer], fold: Fold, shares: list[float], out: Path
) -> pd.DataFrame:
    """Return the predictions of a fold by each share, from a file in `out` if they are there."""
    shares = sorted({float(share) for share in shares})
    digest = identify([trainer.recipe for trainer in trainers], fold, shares)
    file = out / f"fold-{fold.number}-{digest}.csv"
    if not file.is_file():
        runs = [Run(out / f"fold-{fold.number}-{name}") for name in ("base", "field")]
        start = trainers[0].fit(fold, runs[0])
        trained = trainers[1].fit(fold, runs[1], start)
        averages = [average_networks(start, trained, share) for share in shares]
        tables = zip(trainers[1].predict(averages, fold), shares, strict=True)
        write_table(file, pd.concat(table[COLUMNS].assign(share=share) for table, share in tables))
        for run in runs:
            remove_entry(run.folder)
    return read_table(file).astype({"share": float})


def summarize(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracy of each share by view and edge."""
    by_share = predictions.groupby("share")
    tables = {share: summarize_views(table) for share, table in by_share}
    return pd.concat(tables, names=["share", "view"])


def compare(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return by how many points each share is better than each of the recipes alone, by view."""
    tables = dict(list(predictions.groupby("share")))
    compared = {
        (share, ALONE[alone]): compare_views(tables[share], tables[alone])
        for alone, share in itertools.product(ALONE, tables)
        if share != alone and alone in tables
    }
    return pd.concat(compared, names=["share", "against", "view"]) if compared else pd.DataFrame()


if __name__ == "__main__":
    typer.run(main)
