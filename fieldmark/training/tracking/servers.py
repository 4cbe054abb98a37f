"""Check before a training that the servers of trackers answer."""

from collections.abc import Sequence


def check_servers(track: Sequence[str]) -> None:
    """Raise TrackingError unless the server of MLflow answers, if a run is logged to it.

    ClearML tries for minutes to reach a server; it reports one that is not configured.
    """
    if "mlflow" in track:
        from fieldmark.training.tracking.mlflow_server import connect

        connect()
