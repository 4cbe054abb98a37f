"""What the owner of a function sets, and what its machine really has."""

import os

import pytest

from birds import cpus, settings


def test_without_settings_there_is_no_key_and_no_other_origin():
    chosen = settings.read({})
    assert (chosen.key, chosen.origins) == ("", ())
    assert chosen.at_once == cpus.count()
    assert chosen.in_flight == 2 * cpus.count()


def test_a_key_may_end_in_a_newline_as_some_secret_stores_hand_it_out():
    assert settings.read({"FIELDMARK_FUNCTION_KEY": "a-long-key\n"}).key == "a-long-key"


def test_origins_are_written_as_browsers_send_them():
    chosen = settings.read({"FIELDMARK_CORS": "https://a.example/ https://b.example"})
    assert chosen.origins == ("https://a.example", "https://b.example")


def test_the_number_in_flight_also_bounds_those_worked_on():
    assert settings.read({"FIELDMARK_IN_FLIGHT": "1"})[2:4] == (1, 1)
    assert settings.read({"FIELDMARK_IN_FLIGHT": "99"})[2:4] == (cpus.count(), 99)


def test_the_page_is_served_only_where_no_key_is_asked_for():
    for word in ("0", "false", "No", "", " "):
        assert not settings.read({"FIELDMARK_PAGE": word}).page
    assert settings.read({"FIELDMARK_PAGE": "1"}).page
    with pytest.raises(ValueError, match="FIELDMARK_PAGE is 'nay'"):
        settings.read({"FIELDMARK_PAGE": "nay"})
    with pytest.raises(ValueError, match="FIELDMARK_FUNCTION_KEY"):
        settings.read({"FIELDMARK_PAGE": "1", "FIELDMARK_FUNCTION_KEY": "a"})


@pytest.mark.parametrize("value", ["many", "0", "-1", "1.5"])
def test_another_number_in_flight_is_told(value):
    with pytest.raises(ValueError, match="FIELDMARK_IN_FLIGHT"):
        settings.read({"FIELDMARK_IN_FLIGHT": value})


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({"cpu.max": "100000 100000"}, 1, id="one CPU"),
        pytest.param({"cpu.max": "150000 100000"}, 2, id="one and a half"),
        pytest.param({"cpu.max": "10000 100000"}, 1, id="a tenth"),
        pytest.param({"cpu.max": "max 100000"}, 8, id="no limit"),
        pytest.param({"cpu.max": "nonsense"}, 8, id="unreadable"),
        pytest.param(
            {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2, id="version 1"
        ),
        pytest.param(
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8, id="1, no limit"
        ),
        pytest.param({}, 8, id="no control group"),
    ],
)
def test_a_container_has_the_cpus_of_its_quota(tmp_path, monkeypatch, files, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cpus.count(tmp_path) == expected


def test_a_process_bound_to_one_cpu_has_one(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert cpus.count(tmp_path) == 1
