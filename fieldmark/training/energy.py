"""Read what a run costs in seconds and in joules, where the machine counts them; never a guess."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch

POWERCAP = Path("/sys/class/powercap")
OFTEN = 60.0  # seconds; at 300 W a processor's counter is back at its beginning after 15 minutes


class Meter:
    """A clock and the machine's own energy counters, read from the moment that it is made.

    The counters are of the whole processor and the whole GPU, whoever else uses them meanwhile.
    """

    def __init__(self, powercap: Path = POWERCAP):
        self.begun = time.monotonic()
        self.processor, self.gpu = packages(powercap), gpu()
        self.look, self.stopped = threading.Lock(), threading.Event()
        if self.processor:
            threading.Thread(target=self.watch, daemon=True).start()

    def watch(self) -> None:
        """Look at the processor's counters so often that none begins again twice unseen."""
        while not self.stopped.wait(OFTEN):
            self.joules(self.processor)

    def joules(self, counters: list["Counter"]) -> float | None:
        """Return what counters have counted together so far; None where one can't be read."""
        with self.look:
            try:
                return sum(each.joules() for each in counters) if counters else None
            except Exception:  # each counter's own kind; a run must not end for it
                counters.clear()  # what was missed is not known, so nothing is
                return None

    def read(self, earlier: float = 0.0) -> dict:
        """Return the run's cost so far, for cost.json.

        `seconds` and `joules` are since the meter was made; `earlier_epochs` are the seconds of
        the epochs that interrupted sessions had done, whose energy nobody counted.
        """
        used = {"processor": self.joules(self.processor), "gpu": self.joules(self.gpu)}
        return {
            "seconds": round(time.monotonic() - self.begun, 1),
            "earlier_epochs": round(earlier, 1),
            "joules": {name: value and round(value, 1) for name, value in used.items()},
        }


class Counter:
    """A counter of energy that begins again after `span`; `unit` are its steps in a joule."""

    def __init__(self, count: Callable[[], int], unit: float, span: int | None = None):
        self.count, self.unit, self.span = count, unit, span
        self.last, self.used = count(), 0

    def joules(self) -> float:
        """Return the joules since it was made; raises ValueError where it was set back."""
        now = self.count()
        passed = (now - self.last) % self.span if self.span else now - self.last
        if passed < 0:
            raise ValueError("The counter was set back.")
        self.last, self.used = now, self.used + passed
        return self.used / self.unit


def packages(powercap: Path) -> list[Counter]:
    """Return the counters of all processors and of their memory (RAPL, on Linux); none if unread.

    A package holds its cores, and `psys` the packages, so these two would count twice. Linux lets
    root alone read them, unless its owner says otherwise.
    """
    try:
        zones = sorted(powercap.glob("intel-rapl:*"))
        return [
            Counter(reader(zone / "energy_uj"), 1e6, reader(zone / "max_energy_range_uj")())
            for zone in zones
            if (zone / "name").read_text().startswith(("package", "dram"))
        ]
    except (OSError, ValueError):
        return []


def reader(file: Path) -> Callable[[], int]:
    """Return what reads a file with a number in it."""
    return lambda: int(file.read_text())


def gpu() -> list[Counter]:
    """Return the counter of the CUDA device that trains (NVML, since Volta); none without one."""
    if not torch.cuda.is_available():
        return []
    try:
        from cuda.bindings import nvml  # comes with torch on Linux

        nvml.init_v2()
        uuid = torch.cuda.get_device_properties(torch.cuda.current_device()).uuid
        handle = nvml.device_get_handle_by_uuid(f"GPU-{uuid}")
        return [Counter(lambda: nvml.device_get_total_energy_consumption(handle), 1e3)]
    except Exception:  # no module, no right, no such counter: each its own kind
        return []
