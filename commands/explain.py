"""`fieldmark explain`: run explain.ipynb for a finished run, into a folder in runs/explain/."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fieldmark.errors import DatasetError

if TYPE_CHECKING:
    from fieldmark.recipe import ExplainRecipe

NOTEBOOK = Path(__file__).parents[1] / "explain.ipynb"
STARTS_AGAIN = "It starts from the beginning."


def complete_parameter(text: str) -> list[str]:
    """Complete the parameter of `--set`."""
    from fieldmark.recipe import ExplainRecipe

    return [f"{key}=" for key in ExplainRecipe.model_fields if key.startswith(text)]


def explain(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")] = Path("runs/quick"),
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set a parameter of explain.ipynb; repeatable. docs/explain.md lists them.",
            autocompletion=complete_parameter,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the results, instead of runs/explain/NAME.", show_default=False
        ),
    ] = None,
) -> None:
    """Show what a run's network sees, where it errs, and what its photos lack.

    Writes the executed notebook, the same as a page, explain.html, and all figures and tables into
    runs/explain/NAME, where NAME is that of the run's folder. It shows your photos.

    Examples:

        fieldmark explain runs/quick
        FIELDMARK_PHOTOS=photos/cub100 fieldmark explain azure_function/model
        fieldmark explain runs/mine --set unlabelled=photos/new --set scored_photos=50
    """
    from commands.notebook import execute_notebook
    from commands.train import parse_settings
    from fieldmark.explain.page import write_page
    from fieldmark.ranks import check_single_process
    from fieldmark.recipe import ExplainRecipe
    from fieldmark.recipe.recipe_file import parse_yaml
    from fieldmark.run import lock_run

    check_single_process("explain")
    values = {key: parse_yaml(text, key) for key, text in parse_settings(settings or []).items()}
    folder = out or Path("runs/explain") / run.resolve().name
    recipe = ExplainRecipe.parse(values | {"run": run.as_posix(), "out": folder.as_posix()})
    check_inputs(recipe)
    os.environ.setdefault("TQDM_DISABLE", "1")  # bars would stay in the notebook as text
    lock = lock_run(folder)
    try:
        notebook = folder / NOTEBOOK.name
        execute_notebook(NOTEBOOK, notebook, recipe.model_dump(), folder, STARTS_AGAIN)
        page = write_page(notebook)
    finally:
        lock.release()
    typer.echo(f"{page} shows the results; {folder} holds the notebook, figures and tables.")


def check_inputs(recipe: "ExplainRecipe") -> None:
    """Raise UserError unless files and folders are in place, before a kernel starts."""
    from fieldmark.data.run_photos import find_run_photos
    from fieldmark.explain.mistakes.facts import load_facts
    from fieldmark.explain.pretrained import choose_weights
    from fieldmark.run import Run

    run = Run(recipe.run)
    find_run_photos(run, recipe.photos)
    choose_weights(run.card, recipe.weights)
    if recipe.unlabelled and not Path(recipe.unlabelled).is_dir():
        raise DatasetError(
            f"`unlabelled`: There is no folder {recipe.unlabelled}. Set it to a folder of photos, "
            "or leave it out."
        )
    if recipe.facts:
        load_facts(recipe.facts, run.split["path"])
