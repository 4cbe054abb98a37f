"""`fieldmark train`: run train.ipynb by a recipe, into a folder in runs/."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fieldmark.disk import explain
from fieldmark.errors import RecipeError, TrainingError, UserError

if TYPE_CHECKING:
    from fieldmark.recipe import Recipe

NOTEBOOK = Path(__file__).parents[1] / "train.ipynb"


def parameter_completer(recipe: str) -> Callable[[str], list[str]]:
    """Return what completes the parameter of `--set`, of a class in fieldmark.recipe."""

    def complete_parameter(text: str) -> list[str]:
        from fieldmark import recipe as recipes

        fields = getattr(recipes, recipe).model_fields
        return [f"{key}=" for key in fields if key.startswith(text)]

    return complete_parameter


complete_parameter = parameter_completer("Recipe")


def print_template(wanted: bool) -> None:
    """Print a recipe with every parameter, and exit."""
    from fieldmark.recipe import Recipe

    if wanted:
        typer.echo(Recipe.template())
        raise typer.Exit


def train(
    recipe: Annotated[
        Path, typer.Argument(help="YAML file of parameters; docs/training.md lists them.")
    ] = Path("recipes/quick.yaml"),
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
        str, typer.Option(help="Name of the run and, if given, of the model.", show_default=False)
    ] = "",
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that share every batch, on this machine.")
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the run, instead of runs/NAME.", show_default=False),
    ] = None,
    child: Annotated[
        bool, typer.Option(hidden=True, help="End with the process that started this one.")
    ] = False,
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
    """Train a model by a recipe.

    The run, in runs/NAME, holds the model file, the executed notebook and all metrics. NAME is the
    recipe's file name unless given. An interrupted run of the same recipe is resumed after its
    last complete epoch. The files of a finished run stay until the new model passed its gate.
    With --processes, or started by torchrun on several machines, processes share every batch.

    Examples:

        fieldmark train recipes/quick.yaml
        fieldmark train --template > recipes/mine.yaml
        fieldmark train recipes/cub200.yaml --set arch=resnet50 --set epochs=3 --name resnet50
        fieldmark train recipes/cub200.yaml --processes 2
    """
    from commands.processes import end_with_parent, help_training, train_in_processes
    from fieldmark.ranks import read_ranks
    from fieldmark.recipe import Recipe

    values = parse_settings(settings or [])
    if name != Path(name).name:
        raise RecipeError(f"`--name {name}` must be the name of a folder in runs/.")
    if name:
        values["name"] = json.dumps(name)
    folder = out or Path("runs") / (name or recipe.stem)
    parameters = Recipe.load(recipe, values)
    if child:
        end_with_parent()
    ranks = read_ranks()
    if processes > 1 and ranks.size > 1:
        raise TrainingError("`--processes` cannot be used with torchrun, which starts them itself.")
    if processes > 1:
        words = [word for setting in settings or [] for word in ("--set", setting)]
        words += ["--name", name, "--out", str(folder), "--child"]
        train_in_processes(processes, [str(recipe), *words])
        return
    if ranks.rank:
        help_training(parameters, folder)
        return
    run_notebook(parameters, folder)
    print(f"{folder} holds the model file, its metrics and the executed notebook.")


def parse_settings(settings: list[str]) -> dict[str, str]:
    """Return `--set KEY=VALUE` options as a mapping; raises RecipeError for other text."""
    for setting in settings:
        if "=" not in setting:
            raise RecipeError(f"`--set {setting}` must be `--set KEY=VALUE`.")
    pairs = (setting.split("=", 1) for setting in settings)
    return {key.strip(): value for key, value in pairs}


def check_inputs(recipe: "Recipe") -> None:
    """Raise UserError, which names the parameter, unless files and folders are in place."""
    from fieldmark.data.found_birds import load_finder
    from fieldmark.data.locations import find_photo_folder
    from fieldmark.data.ood_photos import list_ood_photos
    from fieldmark.evaluation.open_set import describe_open_set_run
    from fieldmark.network.weights import fetch_weights, resolve_weights
    from fieldmark.training.create_teacher import check_teacher
    from fieldmark.training.grounds import find_grounds
    from fieldmark.training.tracking.registry import check_servers

    checks = {
        "photos": lambda: find_photo_folder(recipe.photos),
        "crop": lambda: recipe.crop == "auto" and load_finder(),
        "not_birds": lambda: list_ood_photos(recipe.not_birds),
        "grounds": lambda: find_grounds(recipe.grounds, recipe.not_birds),
        "open_set_run": lambda: describe_open_set_run(recipe.open_set_run),
        "track": lambda: check_servers(recipe.track),  # before a download
        "weights": lambda: fetch_weights(recipe.arch, resolve_weights(recipe.weights)),
        "teacher": lambda: recipe.teacher and check_teacher(**recipe.teacher),
    }
    for key, check in checks.items():
        try:
            check()
        except UserError as error:
            raise type(error)(f"`{key}`: {error}") from error
        except OSError as error:
            if explanation := explain(error):
                raise explanation from error
            raise


def run_notebook(recipe: "Recipe", folder: Path) -> None:
    """Execute train.ipynb with a recipe; the files of a run are written into `folder`.

    Raises the UserError that a cell raised, and typer.Exit for any other error in it.
    """
    from commands.notebook import execute_notebook
    from fieldmark.run import Run, lock_run

    if folder.exists():
        lock_run(folder).release()  # nothing else is worth a wait if the folder is in use
    check_inputs(recipe)
    lock = lock_run(folder)
    try:
        run = Run(folder)
        parameters = recipe.model_dump() | {"out": folder.as_posix()}
        execute_notebook(NOTEBOOK, run.unfinished / run.notebook_file.name, parameters, folder)
    finally:
        lock.release()
