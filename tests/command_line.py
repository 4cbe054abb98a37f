"""Run `fieldmark` commands within the test process."""

from typer.testing import CliRunner, Result

from commands.main import app


def run_command(*arguments: object, **environment: str) -> Result:
    """Run a command; the result has `exit_code`, `stdout` and `stderr`.

    An error that is no UserError is raised, as it is a fault of the program.
    """
    words = [str(word) for word in arguments]
    result = CliRunner().invoke(app, words, env=environment)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result
