"""The function's settings, and the CPUs that its process may use."""

import os

import pytest

from birds.http.settings import SettingsError, load_settings
from birds.process import cpu_count


def test_without_settings_there_is_no_key_and_no_other_origin():
    settings = load_settings({})
    assert (settings.key, settings.origins) == ("", ())
    assert settings.workers == cpu_count()
    assert settings.max_in_flight == 2 * cpu_count()


def test_a_key_may_end_in_a_newline():
    """Some secret stores add one."""
    assert load_settings({"FIELDMARK_FUNCTION_KEY": "a-long-key\n"}).key == "a-long-key"


def test_origins_lose_their_final_slash():
    settings = load_settings({"FIELDMARK_CORS": "https://a.example/ https://b.example"})
    assert settings.origins == ("https://a.example", "https://b.example")


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("HTTPS://Birds.Example:443", "https://birds.example"),
        ("https://vögel.example", "https://xn--vgel-5qa.example"),
        ("http://[::1]:8866/", "http://[::1]:8866"),
        ("*", "*"),
    ],
)
def test_an_origin_is_spelled_as_browsers_send_it(written, sent):
    assert load_settings({"FIELDMARK_CORS": written}).origins == (sent,)


WRONG_ORIGINS = [
    *("https://a.example,https://b.example", "https://a.example,b.example", "https://a.example;"),
    *("birds.example", "https:birds.example", "null", "ftp://birds.example", "https://", "://"),
    *("https://birds.example/page", "https://birds.example//", "https://birds.example?"),
    *("https://*.birds.example", "* https://birds.example", "'https://birds.example'"),
    *("https://birds.example:99999", "https://bi\\rds", "https://bi\0rds", "https://\udcff"),
    *("https://birds..example", f"https://{'a' * 300}.example", "https://me:secret@birds.example"),
]


@pytest.mark.parametrize("value", WRONG_ORIGINS)
def test_what_is_no_origin_is_refused_with_what_to_write(value):
    with pytest.raises(SettingsError, match=r"FIELDMARK_CORS.*like https://") as error:
        load_settings({"FIELDMARK_CORS": value})
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "key", ["schlüssel", "two words", " a-key", " ", "\n", "a\tkey", "a\0key", "\udcff", "k" * 1025]
)
def test_a_key_that_no_client_can_send_is_refused_without_repeating_it(key):
    with pytest.raises(SettingsError, match=r"FIELDMARK_FUNCTION_KEY.*ASCII") as error:
        load_settings({"FIELDMARK_FUNCTION_KEY": key})
    assert key.strip() == "" or key not in str(error.value)


@pytest.mark.parametrize(("limit", "workers"), [(1, 1), (99, cpu_count())])
def test_the_limit_of_photos_in_flight_also_limits_the_workers(limit, workers):
    settings = load_settings({"FIELDMARK_IN_FLIGHT": str(limit)})
    assert (settings.workers, settings.max_in_flight) == (workers, limit)


@pytest.mark.parametrize("value", ["many", "0", "-1", "1.5", "٣", "9" * 7])
def test_another_limit_is_refused(value):
    with pytest.raises(SettingsError, match=f"FIELDMARK_IN_FLIGHT.*{value}"):
        load_settings({"FIELDMARK_IN_FLIGHT": value})


@pytest.fixture
def page_folder(tmp_path):
    (tmp_path / "index.html").touch()
    return tmp_path


@pytest.mark.parametrize("word", ["0", "false", "No", "", " "])
def test_the_page_is_off_unless_switched_on(word, page_folder):
    assert not load_settings({"FIELDMARK_PAGE": word}, page_folder).page


def test_the_page_needs_its_files_and_excludes_a_key(page_folder):
    switch = {"FIELDMARK_PAGE": "1"}
    assert load_settings(switch, page_folder).page
    with pytest.raises(SettingsError, match="make page"):
        load_settings(switch, page_folder / "missing")
    with pytest.raises(SettingsError, match="FIELDMARK_FUNCTION_KEY"):
        load_settings(switch | {"FIELDMARK_FUNCTION_KEY": "a"}, page_folder)
    with pytest.raises(SettingsError, match="'nay'"):
        load_settings({"FIELDMARK_PAGE": "nay"}, page_folder)


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
    assert cpu_count(tmp_path) == expected


def test_a_process_bound_to_one_cpu_has_one(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert cpu_count(tmp_path) == 1
