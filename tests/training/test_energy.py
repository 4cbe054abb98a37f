"""Energy is read from the machine's own counters, or not told."""

import sys
from types import SimpleNamespace

import pytest
import torch

from fieldmark.training import energy
from fieldmark.training.energy import Counter, Meter

SPAN = 262_143_328_850  # microjoules, as of many processors


NAMES = {
    "intel-rapl": None,
    "intel-rapl:0": "package-0",
    "intel-rapl:0:0": "core",
    "intel-rapl:0:1": "dram",
    "intel-rapl:1": "package-1",
    "intel-rapl:2": "psys",
    "intel-rapl-mmio:0": "package-0",
}


class Machine:
    """A tree of /sys/class/powercap whose counters can be set."""

    def __init__(self, folder):
        self.folder = folder
        for zone, name in NAMES.items():
            (folder / zone).mkdir()
            if name:
                (folder / zone / "name").write_text(f"{name}\n")
                (folder / zone / "max_energy_range_uj").write_text(f"{SPAN}\n")
                self.set(zone, 1_000_000)

    def set(self, zone, count):
        (self.folder / zone / "energy_uj").write_text(f"{count}\n")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    monkeypatch.setattr(energy, "OFTEN", 3600)  # no look but the test's own
    return Machine(tmp_path)


def used(meter):
    return meter.read()["joules"]["processor"]


def test_packages_and_memory_are_summed_and_what_they_hold_is_not(machine):
    meter = Meter(machine.folder)
    assert used(meter) == 0
    for zone, name in NAMES.items():
        if name:
            machine.set(zone, 1_000_000 + 1_000_000 * (1 + len(zone)))
    zones = ("intel-rapl:0", "intel-rapl:0:1", "intel-rapl:1")
    assert used(meter) == sum(1 + len(zone) for zone in zones)


def test_a_counter_that_began_again_is_followed(machine):
    machine.set("intel-rapl:0", SPAN - 3_000_000)
    meter = Meter(machine.folder)
    machine.set("intel-rapl:0", 2_000_000)
    assert used(meter) == 5
    machine.set("intel-rapl:0", 1_000_000)  # once more around
    assert used(meter) == pytest.approx(5 + SPAN / 1e6 - 1, abs=0.1)


def test_a_meter_looks_by_itself_so_that_no_round_is_missed(machine):
    meter = Meter(machine.folder)
    counts = iter([SPAN - 1_000_000, 500_000])

    class Looks:
        """Stand in for the wait between two looks: the counter moves meanwhile."""

        def wait(self, seconds):
            count = next(counts, None)
            if count:
                machine.set("intel-rapl:0", count)
            return count is None

    meter.stopped = Looks()
    meter.watch()
    assert used(meter) == pytest.approx(SPAN / 1e6 - 0.5, abs=0.1)


@pytest.mark.parametrize("unread", ["energy_uj", "max_energy_range_uj"])
def test_what_cannot_be_read_is_not_guessed(machine, unread):
    file = machine.folder / "intel-rapl:1" / unread
    file.unlink()  # as for a user who may not read it; root may read whatever is there
    meter = Meter(machine.folder)
    assert used(meter) is None
    assert not meter.processor


def test_a_counter_that_goes_away_takes_the_sum_with_it(machine):
    meter = Meter(machine.folder)
    (machine.folder / "intel-rapl:0/energy_uj").unlink()
    assert used(meter) is None
    machine.set("intel-rapl:0", 5_000_000)
    assert used(meter) is None


def test_a_machine_without_counters_has_a_clock(tmp_path):
    found = Meter(tmp_path / "none").read(earlier=12.34)
    assert found["joules"] == {"processor": None, "gpu": None}
    assert found["seconds"] >= 0
    assert found["earlier_epochs"] == 12.3


def test_a_counter_that_was_set_back_is_told():
    counts = iter([5000, 7000, 100])
    counter = Counter(lambda: next(counts), 1e3)
    assert counter.joules() == 2
    with pytest.raises(ValueError, match="set back"):
        counter.joules()


@pytest.fixture
def nvidia(monkeypatch):
    """Put a GPU into this machine, with the driver's library in Python."""
    counted = {"GPU-abc": 9_000}
    module = SimpleNamespace(
        init_v2=lambda: None,
        device_get_handle_by_uuid=lambda uuid: uuid,
        device_get_total_energy_consumption=lambda handle: counted[handle],
    )
    monkeypatch.setitem(sys.modules, "cuda.bindings", SimpleNamespace(nvml=module))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    of_gpu = SimpleNamespace(uuid="abc")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: of_gpu)
    return counted


def test_a_gpu_counts_millijoules(nvidia, tmp_path):
    meter = Meter(tmp_path)
    nvidia["GPU-abc"] += 4_500
    assert meter.read()["joules"] == {"processor": None, "gpu": 4.5}


def test_a_gpu_too_old_to_count_is_not_guessed(nvidia, tmp_path):
    nvidia.clear()
    assert Meter(tmp_path).read()["joules"]["gpu"] is None
