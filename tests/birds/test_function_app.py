"""What Azure gets: the content of azure_function/, copied elsewhere."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from birds import drawn
from birds.http import pages, routes
from tests.conftest import ROOT

SCRIPT = """
import asyncio, importlib.abc, json, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "fastai", "timm", "fieldmark", "export", "app", "onnx"}:
            raise ImportError(f"{name} does not exist on Azure")

folder, root = sys.argv[1:]
sys.meta_path.insert(0, Blocker())
sys.path[:] = [folder] + [p for p in sys.path if not p.startswith(root) or "site-packages" in p]
import azure.functions as func, birds, function_app
from birds import photo

def send(method, path, body=b"", **headers):
    url = "https://fieldmark.example" + path
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = func.HttpRequest(method=method, url=url, headers=headers, body=body)
    return asyncio.run(function_app.handle(request, None))

def get(*request, **headers):
    response = send(*request, **headers)
    return [response.status_code, json.loads(response.get_body())]

registered = {}
for function in function_app.app.get_functions():  # what Azure's Python worker does to index it
    trigger = function.get_trigger()
    (method,) = (each.value for each in trigger.methods)
    registered[function.get_function_name()] = [method, trigger.route, trigger.auth_level.value]
FORM = (b'--b\\r\\nContent-Disposition: form-data; name="photo"; filename="a"\\r\\n\\r\\n'
        b"Dear bird,\\r\\n--b--\\r\\n")
photo_bytes = open(folder + "/photo.jpg", "rb").read()
classify = "/api/classify"
results = {
    "module": birds.__file__,
    "routes": registered,
    "classify": get("POST", classify + "?top=2", photo_bytes),
    "text": get("POST", classify, b"Dear bird,"),
    "health": get("GET", "/api/health"),
    "alive": get("GET", "/api/health/alive"),
    "page": send("GET", "/").get_body().decode()[:15],
    "docs": len(send("GET", "/api/docs/swagger-ui-bundle.js").get_body()),
    "form": get("POST", classify, FORM, content_type="multipart/form-data; boundary=b"),
    "preflight": send("OPTIONS", classify, origin="https://birds.example",
                      access_control_request_method="POST").status_code,
}
photo.prepare_photo = None
results["fault"] = get("POST", classify, photo_bytes)
print(json.dumps(results))
"""
API_ROUTES = {
    "classify": ["POST", "api/classify", "function"],
    "preflight": ["OPTIONS", "api/classify", "anonymous"],
    "health": ["GET", "api/health", "anonymous"],
    "alive": ["GET", "api/health/alive", "anonymous"],
    "model": ["GET", "api/model", "anonymous"],
    "docs": ["GET", "api/docs", "anonymous"],
    "docs_files": ["GET", "api/docs/{name}", "anonymous"],
    "openapi": ["GET", "api/openapi.json", "anonymous"],
}


@pytest.fixture(scope="module")
def wwwroot(run, tmp_path_factory):
    """Copy azure_function/ with a tiny model and without the page."""
    folder = tmp_path_factory.mktemp("azure") / "wwwroot"
    ignored = shutil.ignore_patterns("model", "page")
    shutil.copytree(ROOT / "azure_function", folder, ignore=ignored)
    (folder / "model").mkdir()
    shutil.copy(run / "birds.onnx", folder / "model")
    (folder / "photo.jpg").write_bytes(drawn.encode_photo(drawn.draw_bird("Night_Inkling")))
    return folder


def call_function(folder, **settings) -> dict:
    """Import the copied folder in a process without the rest of the repository, and call it."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), str(ROOT)],
        cwd=folder,
        env=os.environ | {"FIELDMARK_CORS": "https://birds.example"} | settings,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_folder_works_when_copied_elsewhere(wwwroot):
    results = call_function(wwwroot)
    assert results["module"].startswith(str(wwwroot))
    assert results["routes"] == API_ROUTES
    status, body = results["classify"]
    assert (status, len(body["predictions"])) == (200, 2)
    assert results["text"][0] == 415
    assert results["health"][1]["status"] == "ready"
    assert results["alive"][1]["status"] == "alive"
    assert results["docs"] > 1e6
    status, body = results["form"]
    assert (status, body["results"][0]["type"]) == (200, "urn:fieldmark:not-a-photo")
    assert results["preflight"] == 200
    assert results["page"].startswith("{")  # a problem document: there is no page
    status, body = results["fault"]
    assert (status, body["type"]) == (500, "urn:fieldmark:internal-error")
    assert "NoneType" not in str(body)


def test_without_a_model_all_routes_exist_and_health_says_why(wwwroot):
    results = call_function(wwwroot, FIELDMARK_MODEL="missing.onnx")
    assert results["routes"] == API_ROUTES
    status, body = results["health"]
    assert status == 503
    assert "missing.onnx" in body["detail"]


def test_the_page_is_open_without_a_key_once_it_is_built(wwwroot):
    page = wwwroot / "birds/page"
    fault = call_function(wwwroot, FIELDMARK_PAGE="1")
    assert fault["routes"] == API_ROUTES  # a wrong setting opens nothing
    assert fault["classify"][0] == 503
    assert "make page" in fault["health"][1]["detail"]
    subprocess.run([sys.executable, ROOT / "app/bundle.py", page], check=True)
    try:
        results = call_function(wwwroot, FIELDMARK_PAGE="1")
    finally:
        shutil.rmtree(page)
    assert results["page"] == "<!doctype html>"
    assert results["routes"]["page"] == ["GET", "{*path}", "anonymous"]
    assert results["routes"]["classify"] == ["POST", "api/classify", "anonymous"]
    assert results["classify"][0] == 200


def test_every_route_of_the_api_is_registered_with_azure():
    """One that is missing there would only be noticed by callers."""
    paths = {route.path[1:] for route in [*routes.routes.routes, *pages.docs_routes.routes]}
    assert paths <= {path for _, path, _ in API_ROUTES.values()}


def test_the_host_file_is_of_the_second_programming_model():
    host = json.loads((ROOT / "azure_function/host.json").read_text())
    assert host["version"] == "2.0"
    assert host["extensionBundle"]["version"].startswith("[4.")
