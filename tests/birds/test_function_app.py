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
import asyncio, importlib.abc, json, logging, sys
from types import SimpleNamespace

BLOCKED = {"torch", "fastai", "timm", "fieldmark", "export", "app", "onnx", "uvicorn"}

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ImportError(f"{name} does not exist on Azure")

folder, root = sys.argv[1:]
sys.meta_path.insert(0, Blocker())
sys.path[:] = [folder] + [p for p in sys.path if not p.startswith(root) or "site-packages" in p]
logging.basicConfig(level=logging.INFO, format="%(message)s")  # as the worker does before
import azure.functions as func, birds, function_app
from azure.functions.http import HttpRequestConverter, HttpResponseConverter
from azure.functions.meta import Datum
from birds import photo

class Context(func.Context):  # of one invocation
    function_directory = folder
    function_name = invocation_id = "1"
    thread_local_storage = trace_context = retry_context = None

def text(values):
    return {name.replace("_", "-"): Datum(value, "string") for name, value in values.items()}

def decode(method, path, body=b"", origin="https://fieldmark.example", kind="bytes", **headers):
    value = {"body": Datum(body, kind), "headers": text(headers), "query": {}, "params": {}}
    value |= text({"method": method, "url": origin + path})
    return HttpRequestConverter.decode(Datum(value, "http"), trigger_metadata={})

async def invoke(*request, **parts):  # what Azure's Python worker does, with its own converters
    response = await function_app.handle(decode(*request, **parts), Context())
    value = HttpResponseConverter.encode(response, expected_type=None).value
    headers = {name: datum.value for name, datum in value["headers"].items()}
    status, body = int(value["status_code"].value), value["body"].value
    return SimpleNamespace(status=status, headers=headers, body=body, cookies=value["cookies"])

def send(*request, **parts):
    return asyncio.run(invoke(*request, **parts))

def get(*request, **parts):
    response = send(*request, **parts)
    return [response.status, json.loads(response.body)]

async def leave(*request):  # the worker cancels an invocation, at one time and another
    for milliseconds in range(12):
        task = asyncio.ensure_future(invoke(*request))
        await asyncio.sleep(milliseconds / 1000)
        task.cancel()
        await asyncio.wait([task])
    await asyncio.sleep(0.2)  # for what had started
    return json.loads((await invoke("GET", "/api/health")).body).get("in_flight")

async def together(count, *request):
    return [each.status for each in await asyncio.gather(
        *(invoke(*request) for _ in range(count)))]

registered = {}
for function in function_app.app.get_functions():  # what Azure's Python worker does to index it
    trigger = function.get_trigger()
    (method,) = (each.value for each in trigger.methods)
    registered[function.get_function_name()] = [method, trigger.route, trigger.auth_level.value]
FORM = (b'--b\\r\\nContent-Disposition: form-data; name="photo"; filename="a"\\r\\n\\r\\n'
        b"Dear bird,\\r\\n--b--\\r\\n")
photo_bytes = open(folder + "/photo.jpg", "rb").read()
classify, synchronous = "/api/classify", function_app.middleware.main
results = {
    "module": birds.__file__,
    "routes": registered,
    "classify": get("POST", classify + "?top=2", photo_bytes),
    "text": get("POST", classify, b"Dear bird,"),
    "health": get("GET", "/api/health"),
    "alive": get("GET", "/api/health/alive"),
    "page": [send("GET", path).body.decode()[:15] for path in ("/", "/page.js", "/page.css")],
    "docs": len(send("GET", "/api/docs/swagger-ui-bundle.js").body),
    "form": get("POST", classify, FORM, Content_Type="multipart/form-data; boundary=b"),
    "preflight": send("OPTIONS", classify, Origin="https://birds.example",
                      Access_Control_Request_Method="POST").status,
    "together": asyncio.run(together(3, "POST", classify, photo_bytes)),
    "sync": synchronous(decode("POST", classify, photo_bytes), Context()).status_code,
    "in_flight": asyncio.run(leave("POST", classify, photo_bytes)),
}
responses = {
    "too large": send("POST", classify, bytes(photo.MAX_BYTES + 1)),
    "no body": send("POST", classify),
    "text": send("POST", classify, "Dear bird,", kind="string"),
    "JSON": send("POST", classify, "[1]", kind="json", content_type="application/json"),
    "header": send("POST", classify, photo_bytes, x_functions_key="schl\\xfcssel \\u2603"),
    "type": send("POST", classify, photo_bytes, content_type="\\u2603"),
    "long port": send("GET", "/api/health/alive", x_forwarded_port="9" * 5000),
    "port": send("GET", "/api/health/alive", X_Forwarded_Port="x"),
    "path": send("GET", "/api/docs/%ff"),
    "zero": send("GET", "/api/docs/%00"),
    "slash": send("GET", "/api/docs/"),
    "snowman": send("GET", "/api/docs/\\u2603"),
    "parameter": send("POST", classify + "?%ff\\u2603", photo_bytes),
    "bad host": send("GET", "/api/health/alive", origin="https://[fieldmark"),
    "bad port": send("GET", "/api/health/alive", origin="https://fieldmark:99999"),
    "no host": send("GET", "/api/health/alive", origin=""),
}
results["hostile"] = {name: response.status for name, response in responses.items()}
assert all(response.headers["x-content-type-options"] == "nosniff"
           and response.headers["content-security-policy"].startswith("default-src 'none'")
           and not response.cookies for response in responses.values())
vars(function_app.api.state.identifier or SimpleNamespace())["identify"] = None
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
    log = [json.loads(line) for line in done.stderr.splitlines()]
    return json.loads(done.stdout) | {"log": log}


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
    assert all(text.startswith("{") for text in results["page"])  # problems: there is no page
    assert set(results["together"]) <= {200, 503}
    assert results["together"][0] == 200
    assert results["sync"] == 200
    assert results["in_flight"] == 0
    assert results["hostile"] == {
        **{"too large": 413, "no body": 400, "text": 415, "JSON": 415, "header": 200, "type": 415},
        **{"long port": 200, "port": 200, "path": 404, "zero": 404, "slash": 404, "snowman": 404},
        **{"parameter": 422, "bad host": 200, "bad port": 200, "no host": 200},
    }
    status, body = results["fault"]
    assert (status, body["type"]) == (500, "urn:fieldmark:internal-error")
    assert "NoneType" not in str(body)
    (failure,) = (line for line in results["log"] if line["message"] == "A request failed")
    assert failure["traceback"].endswith("\nTypeError")
    assert {line["status"] for line in results["log"] if "status" in line} >= {200, 404, 413, 500}


def test_without_a_model_all_routes_exist_and_health_says_why(wwwroot):
    results = call_function(wwwroot, FIELDMARK_MODEL="missing.onnx")
    assert results["routes"] == API_ROUTES
    status, body = results["health"]
    assert status == 503
    assert "missing.onnx" in body["detail"]


def test_a_wrong_setting_leaves_all_routes_and_health_says_what_to_write(wwwroot):
    results = call_function(wwwroot, FIELDMARK_CORS="https://a.example,https://b.example")
    assert results["routes"] == API_ROUTES
    assert results["classify"][0] == 503
    status, body = results["health"]
    assert (status, body["type"]) == (503, "urn:fieldmark:model-not-loaded")
    assert "FIELDMARK_CORS contains 'https://a.example,https://b.example'" in body["detail"]


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
    assert results["page"][0] == "<!doctype html>"
    assert not any(text.startswith("{") for text in results["page"])
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
