"""`fieldmark sweep`: train a recipe with several seeds, architectures and learning rates."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from commands.train import check_inputs, complete_parameter, parse_settings
from fieldmark.errors import RecipeError, TrainingError


def sweep(
    recipe: Annotated[
        Path, typer.Argument(help="YAML file of parameters; docs/training.md lists them.")
    ],
    seeds: Annotated[
        str, typer.Option(help="Seeds of splits, start weights and augmentation.", metavar="N,N")
    ] = "",
    arch: Annotated[str, typer.Option(help="Architectures, by timm's names.", metavar="A,A")] = "",
    rate: Annotated[str, typer.Option(help="Values of `learning_rate`.", metavar="R,R")] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Replace a parameter of the recipe in all trials; repeatable.",
            autocompletion=complete_parameter,
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Trials at a time on this machine.")] = 1,
    address: Annotated[
        str, typer.Option(help="Address of a Ray cluster whose machines share this folder.")
    ] = "",
) -> None:
    """Train a recipe with each combination of seeds, architectures and rates.

    Every trial is a run in runs/RECIPE-sweep/, made as by `fieldmark train`. The same command
    resumes: finished trials are not run again. A trial that fails is reported, and the others go
    on. Settings are ranked on `valid`: to choose by the accuracy on `calibration`, which `compare`
    reports, would make that figure too good.

    Examples:

        fieldmark sweep recipes/quick.yaml --seeds 0,1,2 --rate 1e-3,3e-3 --jobs 2
        fieldmark compare runs/quick-sweep
    """
    from fieldmark.recipe import Recipe
    from fieldmark.run import write_table
    from fieldmark.sweep import list_results, list_trials, rank_settings, run_trials

    lists = {"seed": ("--seeds", seeds, int), "arch": ("--arch", arch, str)}
    lists |= {"learning_rate": ("--rate", rate, float)}
    grid = {key: parse_list(*values) for key, values in lists.items() if values[1]}
    parameters = Recipe.load(recipe, parse_settings(settings or []))
    folder = Path("runs") / f"{recipe.stem}-sweep"
    trials = list_trials(parameters, folder, grid)
    for trial in {trial.recipe.arch: trial for trial in trials}.values():
        check_inputs(trial.recipe)
    errors = run_trials(trials, jobs, address)
    results = list_results(trials)
    write_table(folder / "sweep.csv", results)
    typer.echo(f"Ranked by the log loss on valid, means over seeds:\n{format_table(results)}")
    if len(ranked := rank_settings(results)):
        typer.echo(f"\n{format_table(ranked)}")
    typer.echo(f"\nTest which differences are significant: fieldmark compare {folder}")
    if errors:
        texts = "".join(f"\n{name}: {error}" for name, error in errors.items())
        raise TrainingError(
            f"{len(errors)} of {len(trials)} trials failed; the others are finished. Correct what "
            f"their errors say, and start the same command again.{texts}"
        )


def parse_list(option: str, text: str, kind: Callable) -> list:
    """Return the values of a list with commas, each once; raises RecipeError for a wrong one."""
    try:
        return list(dict.fromkeys(kind(word.strip()) for word in text.split(",")))
    except ValueError as error:
        raise RecipeError(f"`{option} {text}` must be numbers, separated by commas.") from error


def format_table(table) -> str:
    """Return a table as text, numbers with 4 significant digits."""
    return table.to_string(index=False, float_format="{:.4g}".format, na_rep="failed")
