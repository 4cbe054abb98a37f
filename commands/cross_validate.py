"""`fieldmark cross-validate`: compare recipes on the photos of `train` alone."""

from pathlib import Path
from typing import Annotated

import typer

from commands.train import check_inputs, complete_parameter, parse_settings


def cross_validate(
    recipe: Annotated[Path, typer.Argument(help="YAML file of parameters.")],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Replace a parameter of the recipe; repeatable.",
            autocompletion=complete_parameter,
        ),
    ] = None,
    name: Annotated[
        str, typer.Option(help="Name of the results.", show_default="the recipe's file name")
    ] = "",
    folds: Annotated[int, typer.Option(help="Number of folds.", min=2)] = 5,
    against: Annotated[
        str, typer.Option(help="Name of earlier results to compare with.", show_default=False)
    ] = "",
) -> None:
    """Cross-validate a recipe on its training photos.

    Each fifth of `train` is predicted by a network that was trained on the rest: as it is, and
    pasted at some shares of other photos and cropped as by a finder. `valid` chooses the epoch, as
    in a training. Results are written into runs/cross-validation/NAME; an interrupted call resumes.

    Examples:

        fieldmark cross-validate recipes/cub100-first.yaml --name before --set shrink_share=0
        fieldmark cross-validate recipes/cub100-first.yaml --name after --against before
    """
    import pandas as pd

    from fieldmark.ranks import check_single_process
    from fieldmark.recipe import Recipe
    from fieldmark.run import write_table
    from fieldmark.run_folder import read_table
    from fieldmark.training.cross_validation import cross_validate as train_folds
    from fieldmark.training.fold_predictions import compare_views, summarize_views

    check_single_process("cross-validate")
    root = Path("runs/cross-validation")
    parameters = Recipe.load(recipe, parse_settings(settings or []))
    earlier = root / against / "predictions.csv"
    if against and not earlier.is_file():
        raise typer.BadParameter(f"There is no {earlier}.", param_hint="--against")
    check_inputs(parameters)
    out = root / (name or recipe.stem)
    tables = []
    for table in train_folds(parameters, out, folds):
        tables.append(table)
        typer.echo(f"fold {len(tables)}\n{summarize_views(table).to_string()}")
    predictions = pd.concat(tables, ignore_index=True)
    write_table(out / "predictions.csv", predictions)
    typer.echo(f"\n{out}\n{summarize_views(predictions).to_string()}")
    if against:
        compared = compare_views(predictions, read_table(earlier))
        typer.echo(f"\nPoints better than {against}\n{compared.to_string()}")
