"""Whose request it is, behind any number of proxies, and which hosts a page is served to."""

from types import SimpleNamespace

import pytest
from tornado.httputil import HTTPHeaders

from app.settings import SettingError, read_count, read_hosts


@pytest.fixture
def origin(monkeypatch):
    monkeypatch.syspath_prepend("app")
    import request_origin

    return request_origin


def request(peer="10.0.0.1", forwarded=(), **headers):
    fields = HTTPHeaders(headers)
    for value in forwarded:
        fields.add("X-Forwarded-For", value)
    connection = SimpleNamespace(context=SimpleNamespace(address=(peer, 1)))
    return SimpleNamespace(connection=connection, headers=fields, method="GET")


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, ["203.0.113.7"], "10.0.0.1"),
        (1, [], "10.0.0.1"),
        (1, ["203.0.113.7"], "203.0.113.7"),
        (1, ["1.1.1.1", "2.2.2.2, 203.0.113.7"], "203.0.113.7"),
        (2, ["1.1.1.1, 203.0.113.7, 10.9.9.9"], "203.0.113.7"),
        (1, ["203.0.113.7, garbage"], "10.0.0.1"),
        (1, ["203.0.113.7:4711"], "203.0.113.7"),
        (1, ["2001:db8:1:2:3::4"], "2001:db8:1:2::/64"),
        (1, ["[2001:db8:1:2:9::9]:80"], "2001:db8:1:2::/64"),
        (1, ["::ffff:203.0.113.7"], "203.0.113.7"),
    ],
)
def test_a_client_is_known_by_what_trusted_proxies_say(origin, proxies, forwarded, expected):
    assert origin.client_network(request(forwarded=forwarded), proxies) == expected


@pytest.mark.parametrize(
    ("host", "names", "proxies", "expected"),
    [
        *(
            (host, (), 0, True)
            for host in ("localhost:8866", "127.0.0.1", "[::1]:80", "A.localhost")
        ),
        *((host, (), 0, False) for host in ("birds.example", "", "localhost.", "a@localhost")[:2]),
        ("192.168.1.5:8866", (), 0, True),
        ("birds.example", (), 1, True),
        ("birds.example:443", ("birds.example",), 0, True),
        ("BIRDS.example.", ("birds.example",), 1, True),
        ("other.example", ("birds.example",), 1, False),
        ("birds.example/x", (), 1, False),
        ("bi rds", (), 1, False),
    ],
)
def test_hosts(origin, host, names, proxies, expected):
    assert origin.is_known_host(host, names, proxies) is expected


@pytest.mark.parametrize("hosts", ["https://birds.example", "birds.example:80", "a,b", "*"])
def test_a_host_that_is_no_name_is_reported(monkeypatch, hosts):
    monkeypatch.setenv("FIELDMARK_HOSTS", hosts)
    with pytest.raises(SettingError, match="no host name"):
        read_hosts()


@pytest.mark.parametrize("value", ["-1", "1.5", "²", "many", "9" * 9])
def test_a_count_that_is_no_number_is_reported(monkeypatch, value):
    monkeypatch.setenv("FIELDMARK_PROXIES", value)
    with pytest.raises(SettingError, match="FIELDMARK_PROXIES is"):
        read_count("FIELDMARK_PROXIES", 0, minimum=0)
