"""Connect to the server of MLflow that MLFLOW_TRACKING_URI names."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import SplitResult, urlsplit

import mlflow.environment_variables as mlflow_settings
from mlflow.client import MlflowClient
from mlflow.entities import LifecycleStage
from mlflow.exceptions import MlflowException

from fieldmark.errors import TrackingError

EXPERIMENT = "Fieldmark"
START_SERVER = "Start one with `mlflow server`, and set MLFLOW_TRACKING_URI to its address."
UPLOAD_TIMEOUT = 300  # seconds until a server has stored a file that it received


def connect_to_mlflow() -> MlflowClient:
    """Return a client whose server has answered.

    Raises TrackingError if the address is missing, wrong or holds a secret, which would be printed
    with errors; if no server answers; or if its experiment `Fieldmark` is deleted.
    """
    address = read_address()
    with server_errors_reported():
        client = MlflowClient(address.geturl())
        experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment and experiment.lifecycle_stage == LifecycleStage.DELETED:
        command = f"mlflow experiments restore --experiment-id {experiment.experiment_id}"
        raise TrackingError(
            f"The experiment {EXPERIMENT} of MLflow is deleted. Restore it: `{command}`"
        )
    return client


def read_address() -> SplitResult:
    """Return the address of the server; raises TrackingError if it is unsuitable."""
    text = os.environ.get("MLFLOW_TRACKING_URI")
    if not text:
        raise TrackingError(f"`track: [mlflow]` needs a server of MLflow. {START_SERVER}")
    try:
        address = urlsplit(text)
    except ValueError as error:
        raise TrackingError(f"MLFLOW_TRACKING_URI is not an address. {START_SERVER}") from error
    if "@" in address.netloc or address.query or address.fragment:
        raise TrackingError(
            "MLFLOW_TRACKING_URI must not hold a password or token. Take out what is before `@` or "
            "after `?` or `#`, and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
            "MLFLOW_TRACKING_TOKEN."
        )
    return address


@contextmanager
def server_errors_reported() -> Iterator[None]:
    """Raise TrackingError, with what to do, where the server cannot be used."""
    try:
        yield
    except (MlflowException, ImportError) as error:
        address = read_address()
        raise TrackingError(
            f"The server of MLflow at {address.scheme}://{address.netloc} cannot be used. "
            f"{START_SERVER} Without one, leave `mlflow` out of `track`. It says: {error}"
        ) from error


@contextmanager
def upload_timeout() -> Iterator[None]:
    """Wait longer for answers to uploads; a server may pass a file on before it answers."""
    setting = mlflow_settings.MLFLOW_HTTP_REQUEST_TIMEOUT
    timeout = setting.get()
    setting.set(max(timeout, UPLOAD_TIMEOUT))
    try:
        yield
    finally:
        setting.set(timeout)
