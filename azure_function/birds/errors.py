"""The base class of every error that a user can correct."""


class UserError(Exception):
    """An error whose message says what is wrong, where, and what to do.

    Commands print the message without a traceback and exit with `exit_status`.
    """

    exit_status = 2
