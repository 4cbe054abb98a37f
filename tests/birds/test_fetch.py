"""A photo by its address: fetched from public servers, and nothing else, whatever is tried."""

import asyncio
import gzip
import json

import httpx
import pytest
from fastapi.testclient import TestClient

from birds import photo
from birds.api import create_app
from birds.http import fetch
from birds.http.fetch import Fetcher, resolve_host
from birds.http.public_address import is_public
from birds.http.settings import Settings, SettingsError, load_settings
from tests.birds.photo_server import Detour, PhotoServer, redirect, response, stream
from tests.birds.photos import BIRD

PUBLIC = "93.184.215.14"
INTERNAL = [
    *("10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "0.0.0.0", "100.64.0.1"),  # noqa: S104
    *("169.254.169.254", "192.0.0.192", "198.18.0.1", "224.0.0.1", "240.0.0.1"),
    *("255.255.255.255", "168.63.129.16", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1"),
    *("fd00:ec2::254", "ff02::1", "::ffff:10.0.0.1", "::ffff:93.184.215.14", "::10.0.0.1"),
    *("64:ff9b::a00:1", "2002:a00:1::", "2001:0:a00:1::", "2001:db8::1", "not an address"),
]


@pytest.fixture(scope="module")
def server():
    with PhotoServer("birds.example", "*.birds.example") as server:
        yield server


class Setup:
    """An app that fetches photos, with names and connections of the test's own."""

    def __init__(self, app, server):
        self.app = app
        self.detour, self.names, self.asked = Detour(server), {}, []
        self.app.state.fetcher = Fetcher(2, self.resolve, self.detour, server.trust)
        self.client = TestClient(self.app)

    async def resolve(self, host, port):
        self.asked.append(host)
        answers = self.names.get(host)
        if answers is None:
            return await resolve_host(host, port)
        return answers.pop(0) if isinstance(answers[0], list) else answers

    def post(self, url):
        return self.client.post("/api/classify", json={"url": url})

    def problem(self, url):
        response = self.post(url)
        assert response.headers["content-type"] == "application/problem+json"
        return response.json()["type"].removeprefix("urn:fieldmark:")


@pytest.fixture(scope="module")
def app(model):
    return create_app(model, Settings(fetch=True, workers=1, max_in_flight=2))


@pytest.fixture
def setup(app, server):
    server.scripts.clear()
    setup = Setup(app, server)
    setup.names = {"birds.example": [PUBLIC], "www.birds.example": [PUBLIC]}
    return setup


def test_a_photo_is_fetched_and_classified_like_its_bytes(setup, server):
    server.scripts["/jay.jpg?size=1"] = response(BIRD, content_type="text/plain")
    fetched = setup.post("https://birds.example/jay.jpg?size=1#top").json()
    sent = setup.client.post("/api/classify", content=BIRD).json()
    assert fetched["predictions"] == sent["predictions"]
    assert setup.detour.connected == [(PUBLIC, 443)]
    assert setup.asked == ["birds.example"]
    assert "accept-encoding: identity" in server.requests[-1].lower()
    assert "host: birds.example" in server.requests[-1].lower()


def test_it_is_off_unless_the_owner_turns_it_on(model):
    client = TestClient(create_app(model))
    refused = client.post("/api/classify", json={"url": "https://birds.example/jay.jpg"})
    assert refused.status_code == 415
    assert load_settings({"FIELDMARK_FETCH": "1"}).fetch
    assert not load_settings({}).fetch
    with pytest.raises(SettingsError, match="FIELDMARK_FETCH is 'yess'"):
        load_settings({"FIELDMARK_FETCH": "yess"})


@pytest.mark.parametrize("address", INTERNAL)
def test_a_name_of_an_internal_address_is_refused_before_any_connection(setup, address):
    assert not is_public(address)
    for answers in ([address], [PUBLIC, address]):
        setup.names["birds.example"] = answers
        assert setup.problem("https://birds.example/") == "address-refused"
    assert setup.detour.connected == []


def test_public_addresses_are_public():
    assert all(map(is_public, (PUBLIC, "1.1.1.1", "2606:4700:4700::1111")))


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0x7f.1", "localhost"),
        *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "①②⑦.⓪.⓪.①", "169.254.169.254"),
        *("%31%32%37.0.0.1", "127.0.0.1.", "0"),
    ],
)
def test_every_spelling_of_an_internal_address_is_refused(setup, host):
    assert setup.problem(f"https://{host}/latest/meta-data/") == "address-refused"
    assert setup.detour.connected == []


@pytest.mark.parametrize(
    "url",
    [
        *("http://birds.example/", "file:///etc/passwd", "gopher://birds.example/_x"),
        *("ftp://birds.example/", "data:image/png;base64,AA", "unix:///run/docker.sock"),
        *("https://user:secret@birds.example/", "https://user@birds.example/"),
        *(
            "https://birds.example:8443/",
            "https://",
            "birds.example",
            "",
            "https://[fe80::1%eth0]/",
        ),
    ],
)
def test_other_schemes_ports_and_credentials_are_refused(setup, url):
    response = setup.post(url)
    assert response.json()["type"] == "urn:fieldmark:address-refused"
    assert "secret" not in response.text
    assert setup.asked == setup.detour.connected == []


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"{",
        b"[]",
        b'{"url": 1}',
        b'{"url": "https://a", "method": "POST"}',
        json.dumps({"url": "https://birds.example/" + "a" * 2048}).encode(),
        b'{"url": "\xff"}',
    ],
)
def test_other_json_is_refused(setup, sent):
    headers = {"content-type": "application/json"}
    refused = setup.client.post("/api/classify", content=sent, headers=headers)
    assert refused.status_code == 400
    assert refused.json()["type"] in ("urn:fieldmark:bad-json", "urn:fieldmark:empty-photo")


def test_a_name_is_resolved_once_for_each_connection_so_rebinding_gains_nothing(setup, server):
    server.scripts["/"] = response(BIRD)
    setup.names["birds.example"] = [[PUBLIC], ["127.0.0.1"]]
    assert setup.post("https://birds.example/").status_code == 200
    assert setup.problem("https://birds.example/") == "address-refused"
    assert setup.detour.connected == [(PUBLIC, 443)]


@pytest.mark.parametrize(
    "location",
    [
        *("https://169.254.169.254/latest/meta-data/", "https://metadata.example/computeMetadata/"),
        *("http://birds.example/", "file:///etc/passwd", "gopher://127.0.0.1:6379/_FLUSHALL"),
        *("https://u:p@birds.example/", "//127.0.0.1/", "https://[::ffff:a9fe:a9fe]/"),
    ],
)
def test_a_redirect_is_checked_like_the_first_address(setup, server, location):
    server.scripts["/"] = redirect(location)
    setup.names["metadata.example"] = ["169.254.169.254"]
    assert setup.problem("https://birds.example/") == "address-refused"
    assert setup.detour.connected == [(PUBLIC, 443)]


def test_three_redirects_are_followed_and_a_fourth_is_not(setup, server):
    server.scripts["/1"] = redirect("/2")
    server.scripts["/2"] = redirect("https://www.birds.example/3")
    server.scripts["/3"] = redirect("4")
    server.scripts["/4"] = response(BIRD)
    assert setup.post("https://birds.example/1").status_code == 200
    server.scripts["/0"] = redirect("/1")
    assert setup.problem("https://birds.example/0") == "photo-not-fetched"


def test_an_endless_body_ends_at_the_limit_of_a_photo(setup, server):
    server.scripts["/"] = stream(bytes(2**20))
    assert setup.problem("https://birds.example/") == "photo-too-large"
    assert setup.app.state.bodies.used == 0


def test_a_bomb_is_not_unpacked(setup, server):
    bomb = gzip.compress(bytes(2**24))
    server.scripts["/"] = response(bomb, content_encoding="gzip", content_type="image/png")
    assert setup.problem("https://birds.example/") == "photo-not-fetched"
    server.scripts["/"] = response(bomb, content_type="image/png")
    assert setup.problem("https://birds.example/") == "not-a-photo"


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (response(b"<html>", content_type="image/jpeg"), "not-a-photo"),
        (response(b""), "empty-photo"),
        (response(b"", "404 Not Found"), "photo-not-fetched"),
        (response(BIRD, "206 Partial Content"), "photo-not-fetched"),
        (stream(b"x", head=b""), "photo-not-fetched"),
        (stream(b"HTTP/1.1 100 Continue\r\n\r\n", head=b""), "photo-not-fetched"),
        (stream(b"a: b\r\n", head=b"HTTP/1.1 200 OK\r\n"), "photo-not-fetched"),
        (stream(b"x", 0.05), "photo-not-fetched"),
        (stream(b"", 0.05, head=b""), "photo-not-fetched"),
    ],
    ids=[
        "HTML",
        "empty",
        "404",
        "206",
        "no HTTP",
        "endless 100",
        "endless headers",
        "slow",
        "mute",
    ],
)
def test_a_server_that_sends_no_photo_is_reported(setup, server, monkeypatch, script, kind):
    monkeypatch.setattr(fetch, "TIMEOUT", 1)
    server.scripts["/"] = script
    assert setup.problem("https://birds.example/") == kind
    assert setup.app.state.fetcher.under_way == setup.app.state.bodies.used == 0


def test_a_server_with_another_certificate_is_not_believed(setup, server):
    server.scripts["/"] = response(BIRD)
    setup.names["jays.example"] = [PUBLIC]
    assert setup.problem("https://jays.example/") == "photo-not-fetched"


def test_slow_servers_hold_no_worker_and_only_so_many_are_waited_for(setup, server, monkeypatch):
    monkeypatch.setattr(fetch, "TIMEOUT", 3)
    server.scripts["/"] = stream(b"", 0.05, head=b"")

    async def visit():
        transport = httpx.ASGITransport(setup.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            address = {"url": "https://birds.example/"}
            waiting = [
                asyncio.ensure_future(client.post("/api/classify", json=address)) for _ in range(2)
            ]
            while setup.app.state.fetcher.under_way < 2:
                await asyncio.sleep(0.01)
            health = (await client.get("/api/health")).json()
            sent = await client.post("/api/classify", content=BIRD)
            third = await client.post("/api/classify", json=address)
            still_waiting = [not task.done() for task in waiting]
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            return health["in_flight"], sent.status_code, third.json()["type"], still_waiting

    assert asyncio.run(visit()) == (0, 200, "urn:fieldmark:busy", [True, True])
    assert setup.app.state.fetcher.under_way == 0


def test_the_limits_are_those_that_are_documented():
    assert (fetch.TIMEOUT, fetch.MAX_REDIRECTS, photo.MAX_BYTES) == (10, 3, 20 * 2**20)
