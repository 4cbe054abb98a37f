"""`fieldmark ensemble`: combine several runs into one model file."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Method(StrEnum):
    """What an ensemble averages."""

    LOGITS = "logits"
    WEIGHTS = "weights"


def ensemble(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Two or more runs, or snapshots within a run.", metavar="RUN"),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the new run.", metavar="FOLDER")] = Path(
        "runs/ensemble"
    ),
    method: Annotated[
        Method,
        typer.Option(
            help="Average the networks' logits, or the weights of networks of one architecture."
        ),
    ] = Method.LOGITS,
) -> None:
    """Combine several runs into one run whose model file passes the same gate.

    The runs must share their split. Averaged logits cost the time of all networks together;
    averaged weights cost the time of one.

    Examples:

        fieldmark ensemble runs/cub100 runs/cub100-resnet18 --out runs/both
        fieldmark ensemble runs/restarts/snapshots/*.safetensors --method weights
    """
    from export.ensemble import export_ensemble

    card = export_ensemble(runs, out, method.value)
    accuracy = card["metrics"]["accuracy"]
    typer.echo(
        f"{out} passed the gate. Accuracy {accuracy['value']:.1%} (n = {accuracy['n']:,}). "
        f"Publish it: fieldmark publish {out}"
    )
