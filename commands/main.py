"""The `fieldmark` program: its commands, and the one place that reports errors to a person."""

import typer
from typer.core import TyperGroup

from birds.errors import UserError
from commands.audit import audit
from commands.compare import compare
from commands.convert import convert
from commands.cross_validate import cross_validate
from commands.describe import describe
from commands.ensemble import ensemble
from commands.events import events
from commands.explain import explain
from commands.export import export
from commands.label import label
from commands.migrate import migrate
from commands.predict import predict
from commands.publish import publish
from commands.report import report
from commands.serve import serve
from commands.sweep import sweep
from commands.train import train
from commands.train_finder import train_finder

COMMANDS = (
    *(train, train_finder, cross_validate, sweep, predict, compare, ensemble),
    *(events, explain, export, publish, describe, serve, migrate),
    *(convert, label, audit, report),
)
OURS = {"birds", "commands", "export", "fieldmark"}


class CommandGroup(TyperGroup):
    """Commands whose UserErrors end the program with a message and no traceback."""

    def invoke(self, ctx):
        """Run a command; print a UserError on standard error and exit with its status."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(error.exit_status) from error
        except ModuleNotFoundError as error:
            package = (error.name or "").split(".")[0]
            if package in OURS:
                raise
            typer.echo(
                f"This command needs the package {package}, which is not installed. Install "
                "everything that training needs: make .venv/everything; for jobs on many photos: "
                "make .venv/bulk; for `explain`: make .venv/explain",
                err=True,
            )
            raise typer.Exit(2) from error


app = typer.Typer(
    cls=CommandGroup,
    help="Turn a folder of labelled bird photos into a web page that names birds.",
    epilog="`fieldmark COMMAND --help` describes a command and gives an example.",
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)
for command in COMMANDS:
    app.command()(command)


def main() -> None:
    """Run the command line."""
    app(prog_name="fieldmark")
