"""Security headers on every response, no cookie, and nothing of a hostile Host header."""

import re

import pytest
from fastapi.testclient import TestClient

from app import bundle
from birds.api import create_app
from birds.http import pages
from birds.http.security_headers import DATA_POLICY
from birds.http.settings import Settings
from tests.birds.photos import PNG

HOST = "evil.example"
ORIGIN = {"origin": "https://birds.example"}
PREFLIGHT = {"access-control-request-method": "POST"}
PAGES = ("/", "/api/docs")
FILES = ("/page.js", "/page.css", "/api/docs/start.js", "/api/docs/swagger-ui.css")
API = ("/api/health", "/api/health/alive", "/api/model", "/api/classify", "/api/openapi.json")


@pytest.fixture(scope="module")
def client(model, tmp_path_factory):
    """Return a client of a function with its page; all its requests have a hostile Host."""
    folder = tmp_path_factory.mktemp("page")
    bundle.write_page(folder)
    app = create_app(model, Settings(page=True, origins=(ORIGIN["origin"],)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "PAGE_FOLDER", folder)
        yield TestClient(app, follow_redirects=False, headers={"host": HOST})


def check_headers(response, policy: str = DATA_POLICY) -> None:
    """Check the headers that every response has, once each."""
    names = [name.lower() for name, _ in response.headers.multi_items()]
    for name in ("x-content-type-options", "referrer-policy", "permissions-policy"):
        assert names.count(name) == 1
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert "camera=()" in response.headers["permissions-policy"]
    assert names.count("content-security-policy") == 1
    assert response.headers["content-security-policy"] == policy
    assert "set-cookie" not in names
    assert "location" not in names
    assert HOST not in f"{response.headers} {response.text}"


@pytest.mark.parametrize("end", ["", "/", "//", "/%0d%0aset-cookie:a=b", "?x=1"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "DELETE", "TRACE"])
def test_every_route_and_every_wrong_one_has_the_headers_and_no_redirect(client, method, end):
    for path in (*API, *FILES, *PAGES, "/api", "/api/nothing", "/%2f/evil.example"):
        response = client.request(method, f"http://{HOST}{path}{end}")
        assert response.status_code in (200, 400, 404, 405, 422)
        is_page = response.headers["content-type"].startswith("text/html")
        policy = response.headers["content-security-policy"] if is_page else DATA_POLICY
        check_headers(response, policy)
        assert path in PAGES or not is_page


def test_errors_rejections_and_preflights_have_the_headers_too(client, model, monkeypatch):
    slots = client.app.state.slots
    responses = [
        client.post("/api/classify", content=PNG),
        client.post("/api/classify", content=b"Dear bird,"),
        client.post("/api/classify?headmap=1", content=PNG),
        client.options("/api/classify", headers=ORIGIN | PREFLIGHT),
        client.options("/api/classify", headers={"origin": "https://other.example"} | PREFLIGHT),
        TestClient(create_app("none.onnx"), headers={"host": HOST}).get("/api/health"),
        TestClient(create_app(model, Settings(key="k"))).post("/api/classify", content=PNG),
    ]
    with monkeypatch.context() as patch:
        patch.setattr(slots, "max_in_flight", 0)
        patch.setattr(slots, "workers", 0)
        responses.append(client.post("/api/classify", content=PNG))
    monkeypatch.setattr(pages, "PAGE_FOLDER", model / "missing")
    responses.append(client.get("/"))
    for response in responses:
        check_headers(response)
    statuses = [response.status_code for response in responses]
    assert statuses == [200, 415, 422, 200, 400, 503, 401, 503, 500]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_cannot_be_framed_and_allows_nothing_inline(client, path):
    response = client.get(path)
    policy = dict(
        part.split(" ", 1) for part in response.headers["content-security-policy"].split("; ")
    )
    for name in ("default-src", "frame-ancestors", "base-uri", "form-action"):
        assert policy[name] == "'none'"
    for name in ("script-src", "style-src", "connect-src"):
        assert policy[name] == "'self'"
    assert not re.search(r"<style| style=| on\w+=|<script[^>]*>[^<]", response.text)
