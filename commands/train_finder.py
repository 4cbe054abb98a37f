"""`fieldmark train-finder`: run finder.ipynb by a recipe, into a folder in runs/."""

import json
from pathlib import Path
from typing import Annotated

import typer

from commands.train import parameter_completer, parse_settings
from fieldmark.errors import RecipeError

NOTEBOOK = Path(__file__).parents[1] / "finder.ipynb"
STARTS_AGAIN = "Training starts from the beginning."


def print_template(wanted: bool) -> None:
    """Print a recipe with every parameter, and exit."""
    from fieldmark.recipe import FinderRecipe

    if wanted:
        typer.echo(FinderRecipe.template())
        raise typer.Exit


def train_finder(
    recipe: Annotated[
        Path, typer.Argument(help="YAML file of parameters; docs/training.md lists them.")
    ] = Path("recipes/finder-quick.yaml"),
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Replace a parameter of the recipe; repeatable.",
            autocompletion=parameter_completer("FinderRecipe"),
        ),
    ] = None,
    name: Annotated[
        str, typer.Option(help="Name of the run and, if given, of the finder.", show_default=False)
    ] = "",
    template: Annotated[
        bool,
        typer.Option(
            "--template",
            help="Print a recipe with every parameter, its default and its help.",
            callback=print_template,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Train a finder, which says where birds are in whole photos.

    It works with any species model. The run, in runs/NAME, holds finder.onnx, the executed notebook
    and all metrics; NAME is the recipe's file name unless given. The files of an earlier run stay
    until the new finder passed its gate.

    Examples:

        fieldmark train-finder
        fieldmark train-finder recipes/finder.yaml --set size=384 --name large
    """
    from commands.notebook import execute_notebook
    from fieldmark.finder.finder_run import FinderRun
    from fieldmark.ranks import check_single_process
    from fieldmark.recipe import FinderRecipe
    from fieldmark.run import lock_run

    check_single_process("train-finder")
    values = parse_settings(settings or [])
    if name != Path(name).name:
        raise RecipeError(f"`--name {name}` must be the name of a folder in runs/.")
    if name:
        values["name"] = json.dumps(name)
    parameters = FinderRecipe.load(recipe, values)
    run = FinderRun(Path("runs") / (name or recipe.stem))
    lock = lock_run(run.folder)
    try:
        values = parameters.model_dump() | {"out": run.folder.as_posix()}
        execute_notebook(NOTEBOOK, run.notebook_file, values, run.folder, STARTS_AGAIN)
    finally:
        lock.release()
    typer.echo(f"{run.folder} holds the finder, its metrics and the executed notebook.")
