"""The trackers by their names in `track`; a tracker's module is imported when it is used."""

from collections.abc import Sequence
from pkgutil import resolve_name
from typing import NamedTuple

from fieldmark.run import Run
from fieldmark.training.tracking.tracker import Tracker


class Entry(NamedTuple):
    """Where a tracker's class is in this package, and the function that checks its server."""

    tracker: str
    check: str = ""


TRACKERS = {
    "tensorboard": Entry("tensorboard:TensorBoard"),
    "clearml": Entry("clearml:ClearML"),  # whose client would try for minutes to reach a server
    "mlflow": Entry("mlflow:MLflow", check="mlflow_server:connect_to_mlflow"),
}


def open_tracker(name: str, run: Run, recipe: dict) -> Tracker:
    """Open a tracker, whose package is optional."""
    return resolve_in_package(TRACKERS[name].tracker)(run, recipe)


def check_servers(track: Sequence[str]) -> None:
    """Raise TrackingError unless the servers of these trackers can be used."""
    for name in track:
        if check := TRACKERS[name].check:
            resolve_in_package(check)()


def resolve_in_package(name: str):
    """Return the object that a name such as `module:Class` means in this package."""
    return resolve_name(f"{__package__}.{name}")
