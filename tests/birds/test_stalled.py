"""Ordinary clients beside hundreds of connections that stall."""

import time

import psutil
import pytest

from benchmarks.memory import measure_tree
from benchmarks.stalled import measure
from birds import drawn
from tests.browser import run_function

pytestmark = [pytest.mark.soak, pytest.mark.slow]


def test_connections_that_stall_deny_nobody(tmp_path, share, figures):
    """Eleven of their bodies have the largest size; without limits they deny all others."""
    connections, seconds = max(40, int(500 * share)), max(1, 60 * share)
    data = drawn.encode_photo(drawn.draw_bird("Night_Inkling", 0, 240, 240))
    with run_function(tmp_path / "log") as server:
        process = psutil.Process(server.process.pid)
        found = measure(f"{server.url}/api/classify", process, data, seconds, connections)
        time.sleep(5 * share)
        found["MB after"] = measure_tree(process)
    figures["stalled connections"] = found
    assert "Traceback" not in server.log.read_text()
    assert set(found["alone"]["statuses"]) == set(found["beside"]["statuses"]) == {200}
    assert found["beside"]["health"][200] > 0
    ends = found["beside"]["ends"]
    assert set(ends["bodies"]) <= {"408", "503", "reset"}
    assert ends["bodies"]["503"] > 0  # their own memory is full
    if share == 1:
        assert ends["bodies"]["408"] > 0
        assert set(ends["headers"]) == {"408"}
        assert found["MB after"] < 1.1 * found["alone"]["MB"], found
        assert found["beside"]["p99"] < 3 * found["alone"]["p99"], found
