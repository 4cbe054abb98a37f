"""`fieldmark train`: run train.ipynb with the parameters of a recipe."""

from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe: YAML with parameters of train.ipynb.")],
) -> None:
    """Train a model by a recipe, and write the run to runs/NAME.

    The run's folder holds the model file, its metrics and tables, and the executed notebook. An
    interrupted run of the same recipe is resumed after its last complete epoch.

    Example:

        fieldmark train recipes/quick.yaml
    """
    from papermill.exceptions import PapermillExecutionError

    from fieldmark.errors import UserError
    from fieldmark.recipe import OWNERS, run

    try:
        out = run(recipe)
    except PapermillExecutionError as error:
        failure = UserError(f"{error.ename}: {error.evalue}")
        failure.exit_status = 2 if error.ename in OWNERS else 1
        raise failure from error
    typer.echo(f"The model file, its metrics and the executed notebook are in {out}.")
