"""Connect to the server of MLflow that MLFLOW_TRACKING_URI names."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from mlflow.client import MlflowClient
from mlflow.exceptions import MlflowException

from fieldmark.errors import TrackingError

START_SERVER = "Start one with `mlflow server`, and set MLFLOW_TRACKING_URI to its address."


def connect() -> MlflowClient:
    """Return a client whose server has answered.

    Raises TrackingError if there is no address or no answer, or if the address holds a password,
    which would be printed with errors.
    """
    address = os.environ.get("MLFLOW_TRACKING_URI")
    if not address:
        raise TrackingError(f"`track: [mlflow]` needs a server of MLflow. {START_SERVER}")
    if "@" in urlsplit(address).netloc:
        raise TrackingError(
            "MLFLOW_TRACKING_URI must not hold a password. Take it out, and set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
        )
    with server_errors_reported():
        client = MlflowClient(address)
        client.search_experiments(max_results=1)
    return client


@contextmanager
def server_errors_reported() -> Iterator[None]:
    """Raise TrackingError, with what to do, where the server cannot be used."""
    try:
        yield
    except (MlflowException, ImportError) as error:
        raise TrackingError(
            f"The server of MLflow at {os.environ['MLFLOW_TRACKING_URI']} cannot be used. "
            f"{START_SERVER} Without one, leave `mlflow` out of `track`. It says: {error}"
        ) from error
