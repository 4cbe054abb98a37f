"""`fieldmark explain`: run explain.ipynb for a finished run, into a folder in runs/explain/."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands.train import parameter_completer, parse_settings
from fieldmark.errors import DatasetError, RunError

if TYPE_CHECKING:
    from fieldmark.recipe import ExplainRecipe
    from fieldmark.run import Run

NOTEBOOK = Path(__file__).parents[1] / "explain.ipynb"
STARTS_AGAIN = "It starts from the beginning."


def explain(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")] = Path("runs/quick"),
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set a parameter of explain.ipynb; repeatable. docs/explain.md lists them.",
            autocompletion=parameter_completer("ExplainRecipe"),
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
    runs/explain/NAME, where NAME is that of the run's folder, or of the model if the folder is
    called `model`. It shows your photos.

    Examples:

        fieldmark explain runs/quick
        FIELDMARK_PHOTOS=photos/cub100 fieldmark explain azure_function/model
        fieldmark explain runs/mine --set unlabelled=photos/new --set scored_photos=50
    """
    from commands.notebook import execute_notebook
    from fieldmark.explain.page import write_page
    from fieldmark.ranks import check_single_process
    from fieldmark.recipe import ExplainRecipe
    from fieldmark.recipe.recipe_file import parse_yaml
    from fieldmark.run import Run, lock_run

    check_single_process("explain")
    values = {key: parse_yaml(text, key) for key, text in parse_settings(settings or []).items()}
    opened = Run(run)
    folder = out or Path("runs/explain") / name_results(opened)
    recipe = ExplainRecipe.parse(values | {"run": run.as_posix(), "out": folder.as_posix()})
    check_inputs(recipe)
    os.environ.setdefault("TQDM_DISABLE", "1")  # bars would stay in the notebook as text
    lock = lock_run(folder)
    try:
        claim_folder(folder, opened)
        notebook = folder / NOTEBOOK.name
        execute_notebook(NOTEBOOK, notebook, recipe.model_dump(), folder, STARTS_AGAIN)
        page = write_page(notebook)
    finally:
        lock.release()
    typer.echo(f"{page} shows the results; {folder} holds the notebook, figures and tables.")


def name_results(run: "Run") -> str:
    """Return the name of the folder of results: that of the run's folder, or of its model.

    Published models are in folders called `model`, which says nothing.
    """
    return run.card["name"] if run.name == "model" else run.name


def claim_folder(folder: Path, run: "Run") -> None:
    """Write the run into `run.txt` of its folder of results: its path, model and version.

    Another version of the run is the same run: decisions about its photos stay. Raises RunError if
    the folder holds the results of another run, whose decisions would be mixed with these.
    """
    from fieldmark.files import write_text

    file, path = folder / "run.txt", str(run.folder.resolve())
    before = file.read_text(encoding="utf-8").split("\n")[0] if file.is_file() else path
    if before != path:
        raise RunError(
            f"{folder} holds the results of another run ({before}). Set --out to another folder, "
            f"or remove {file} if the run was moved."
        )
    write_text(file, f"{path}\n{run.card['name']} {run.card['version']}\n")


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
