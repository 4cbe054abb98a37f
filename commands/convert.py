"""`fieldmark convert`: write results of a job in the formats of other tools."""

from pathlib import Path
from typing import Annotated

import typer

from birds.errors import UserError


def convert(
    results: Annotated[
        Path, typer.Argument(help="Folder that predict --out wrote.", metavar="RESULTS")
    ],
    csv: Annotated[
        Path | None, typer.Option(help="Write a CSV file, one row per photo.", metavar="FILE")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write a JSON array, one object per photo.", metavar="FILE")
    ] = None,
    parquet: Annotated[
        Path | None, typer.Option(help="Write one Parquet file.", metavar="FILE")
    ] = None,
    camtrap_dp: Annotated[
        Path | None, typer.Option(help="Write a Camtrap DP 1.0.2 package.", metavar="FOLDER")
    ] = None,
    megadetector: Annotated[
        Path | None, typer.Option(help="Write MegaDetector JSON 1.6.", metavar="FILE")
    ] = None,
    deployments: Annotated[
        Path | None,
        typer.Option(
            help="CSV file with fields of Camtrap DP's deployments, such as deploymentID (the "
            "folder of its photos), latitude, longitude, deploymentStart and deploymentEnd.",
            metavar="FILE",
        ),
    ] = None,
    metadata: Annotated[
        Path | None,
        typer.Option(help="JSON file about the project, for Camtrap DP.", metavar="FILE"),
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option(
            help="Of the cameras' clocks where EXIF has none: +02:00, Europe/Brussels.",
            metavar="ZONE",
        ),
    ] = None,
) -> None:
    """Write results as CSV, JSON or Parquet, or for Camtrap DP's or MegaDetector's tools.

    Rows are in no particular order and pass through little memory, however many they are. Camtrap
    DP needs times and places: classify with --exif, and state with --deployments what EXIF lacks.

    Examples:

        fieldmark convert results --csv birds.csv
        fieldmark convert results --megadetector md.json
        fieldmark convert results --camtrap-dp package --metadata project.json --timezone +02:00
    """
    from fieldmark.bulk.outputs import camtrap_dp as package
    from fieldmark.bulk.outputs.megadetector import write_megadetector
    from fieldmark.bulk.outputs.package import read_metadata
    from fieldmark.bulk.outputs.tables import write_csv, write_json, write_parquet
    from fieldmark.bulk.outputs.times import parse_timezone
    from fieldmark.bulk.results import Results

    writers = (
        *((csv, write_csv), (json, write_json), (parquet, write_parquet)),
        (megadetector, write_megadetector),
    )
    if not (camtrap_dp or any(path for path, _ in writers)):
        raise UserError(
            "Name a file to write: --csv, --json, --parquet, --megadetector or --camtrap-dp."
        )
    job = Results(results)
    if not job.manifest["finished"]:
        typer.echo("These results are not finished: photos are missing.", err=True)
    for path, write in writers:
        if path:
            write(job, path)
    if camtrap_dp:
        zone = parse_timezone(timezone) if timezone else None
        lacking = package.write_camtrap_dp(
            job, camtrap_dp, read_metadata(metadata), zone, deployments
        )
        if lacking:
            typer.echo(
                f"{lacking:,} photos are not in the package: they could not be read, or have no "
                "time in EXIF, which Camtrap DP requires.",
                err=True,
            )
