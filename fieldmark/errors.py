"""Errors that users of training and export can correct, each with a message that says how."""

from typing import Any

from birds.errors import UserError

__all__ = [
    "DatasetError",
    "DiskError",
    "ExportError",
    "GateError",
    "InterruptedTrainingError",
    "LockedError",
    "LostProcessError",
    "NetworkError",
    "RecipeError",
    "RunError",
    "TrackingError",
    "TrainingError",
    "UserError",
    "WeightsError",
    "find_error_class",
]


class RecipeError(UserError):
    """A recipe has a wrong key or value."""


class DatasetError(UserError):
    """Photos are missing, unreadable or unsuitable for training."""


class WeightsError(UserError):
    """Weights are missing, or belong to another network."""


class NetworkError(UserError):
    """A network cannot be built as requested."""


class TrainingError(UserError):
    """Training cannot run on this machine."""


class LostProcessError(UserError):
    """Another of the processes that train together ended or does not answer."""

    exit_status = 3


class InterruptedTrainingError(UserError):
    """A person or the system stopped a training that can continue."""

    exit_status = 130


class DiskError(UserError):
    """A disk is full, or refuses a file."""


class LockedError(UserError):
    """Another process is writing to the same folder."""


class TrackingError(UserError):
    """An experiment tracker is not available."""


class RunError(UserError):
    """A run's folder is incomplete, inconsistent, or does not fit another run."""


class ExportError(UserError):
    """A network cannot become a model file."""


class GateError(UserError):
    """A model file predicts differently than its network; `report` is a table of the photos."""

    exit_status = 1

    def __init__(self, message: str, report: Any = None):
        super().__init__(message)
        self.report = report


def find_error_class(name: str) -> type[UserError] | None:
    """Return the UserError class called `name`, None if there is none.

    A notebook that papermill runs in another process reports an error by its class name only.
    """
    classes = [UserError]
    for error_class in classes:
        classes += error_class.__subclasses__()
    return next((error_class for error_class in classes if error_class.__name__ == name), None)
