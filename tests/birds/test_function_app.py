"""What Azure gets: the content of azure_function/, alone."""

import json
import os
import shutil
import subprocess
import sys

from birds import drawn
from birds.http import pages, routes
from tests.conftest import ROOT

ALONE = """
import asyncio, importlib.abc, json, sys

class Nothing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "fastai", "timm", "training", "export", "app", "onnx"}:
            raise ImportError(f"{name} is not there on Azure")

sys.meta_path.insert(0, Nothing())
sys.path[:] = [FOLDER] + [p for p in sys.path if not p.startswith(ROOT) or "site-packages" in p]
import azure.functions as func, birds, function_app

def send(method, path, body=b"", **headers):
    url = "https://fieldmark.example/" + (path[1:] if path.startswith("/") else "api/" + path)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = func.HttpRequest(method=method, url=url, headers=headers, body=body)
    return asyncio.run(function_app.handle(request, None))

def ask(*request, **headers):
    answer = send(*request, **headers)
    return [answer.status_code, json.loads(answer.get_body())]

routes = {}
for function in function_app.app.get_functions():  # what Azure's Python worker does to index it
    trigger = function.get_trigger()
    (method,) = (each.value for each in trigger.methods)
    routes[function.get_function_name()] = [method, trigger.route, trigger.auth_level.value]
FORM = (b'--b\\r\\nContent-Disposition: form-data; name="photo"; filename="a"\\r\\n\\r\\n'
        b"Dear bird,\\r\\n--b--\\r\\n")
photo_bytes = open(FOLDER + "/photo.jpg", "rb").read()
from birds import photo
def fail(*_):
    raise RuntimeError("secret")
prepare, photo.prepare_photo = photo.prepare_photo, fail
fault = ask("POST", "classify", photo_bytes)
photo.prepare_photo = prepare
print(json.dumps({
    "fault": fault,
    "from": birds.__file__,
    "routes": routes,
    "classify": ask("POST", "classify?top=2", photo_bytes),
    "text": ask("POST", "classify", b"Dear bird,"),
    "health": ask("GET", "health"),
    "alive": ask("GET", "health/alive"),
    "page": send("GET", "/").get_body().decode()[:15],
    "docs": len(send("GET", "docs/swagger-ui-bundle.js").get_body()),
    "form": ask("POST", "classify", FORM, content_type="multipart/form-data; boundary=b"),
    "preflight": send("OPTIONS", "classify", origin="https://birds.example",
                      access_control_request_method="POST").status_code,
}))
"""


def run_alone(folder, **settings) -> dict:
    """Import a copy of azure_function/ in a process without the rest, and ask it things."""
    script = ALONE.replace("FOLDER", repr(str(folder))).replace("ROOT", repr(str(ROOT)))
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=os.environ | {"FIELDMARK_CORS": "https://birds.example"} | settings,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_folder_works_copied_elsewhere(tmp_path, model):
    folder = tmp_path / "wwwroot"
    shutil.copytree(ROOT / "azure_function", folder, ignore=shutil.ignore_patterns("model"))
    (folder / "model").mkdir()
    shutil.copy(model, folder / "model")
    (folder / "photo.jpg").write_bytes(drawn.encode_photo(drawn.draw_bird("Night_Inkling")))
    found = run_alone(folder)
    assert found["from"].startswith(str(folder))
    assert found["routes"] == {
        "classify": ["POST", "api/classify", "function"],
        "preflight": ["OPTIONS", "api/classify", "anonymous"],
        "health": ["GET", "api/health", "anonymous"],
        "alive": ["GET", "api/health/alive", "anonymous"],
        "model": ["GET", "api/model", "anonymous"],
        "docs": ["GET", "api/docs", "anonymous"],
        "docs_files": ["GET", "api/docs/{name}", "anonymous"],
        "openapi": ["GET", "api/openapi.json", "anonymous"],
    }
    status, body = found["classify"]
    assert status == 200
    assert len(body["predictions"]) == 2
    assert found["text"][0] == 415
    assert found["health"][1]["status"] == "ready"
    assert found["alive"][1]["status"] == "alive"
    assert found["docs"] > 1e6
    assert found["form"][0] == 200
    assert found["form"][1]["results"][0]["type"] == "urn:fieldmark:not-a-photo"
    assert found["preflight"] == 200
    status, body = found["fault"]
    assert (status, body["type"]) == (500, "urn:fieldmark:internal-error")
    assert "secret" not in str(body)


def test_without_a_model_the_routes_still_exist(tmp_path):
    folder = tmp_path / "wwwroot"
    shutil.copytree(ROOT / "azure_function", folder, ignore=shutil.ignore_patterns("model"))
    (folder / "photo.jpg").write_bytes(b"")
    found = run_alone(folder)
    assert len(found["routes"]) == 8
    status, body = found["health"]
    assert status == 503
    assert "birds.onnx" in body["detail"]


def test_a_wrong_setting_is_told_by_the_routes_and_opens_none(tmp_path):
    folder = tmp_path / "wwwroot"
    shutil.copytree(ROOT / "azure_function", folder, ignore=shutil.ignore_patterns("model"))
    (folder / "photo.jpg").write_bytes(drawn.encode_photo(drawn.draw_bird("Night_Inkling")))
    found = run_alone(folder, FIELDMARK_PAGE="nay")
    status, body = found["health"]
    assert status == 503
    assert "FIELDMARK_PAGE is 'nay'" in body["detail"]
    assert found["classify"][0] == 503
    assert found["routes"]["classify"] == ["POST", "api/classify", "function"]


def test_every_route_of_the_api_is_open_on_azure():
    """A route added to the API and forgotten here would only be missed by its callers."""
    opened = (ROOT / "azure_function/function_app.py").read_text(encoding="utf-8")
    paths = {route.path for route in [*routes.routes.routes, *pages.docs_routes.routes]}
    assert {"/api/classify", "/api/model", "/api/health/alive", "/api/docs/{name}"} < paths
    assert all(f'"{path[1:]}"' in opened for path in paths)


def test_the_page_is_served_and_no_key_asked_for_where_its_owner_allows_that(tmp_path, model):
    folder = tmp_path / "wwwroot"
    shutil.copytree(ROOT / "azure_function", folder, ignore=shutil.ignore_patterns("model"))
    (folder / "model").mkdir()
    shutil.copy(model, folder / "model")
    (folder / "photo.jpg").write_bytes(drawn.encode_photo(drawn.draw_bird("Night_Inkling")))
    closed, opened = run_alone(folder), run_alone(folder, FIELDMARK_PAGE="1")
    assert closed["page"].startswith("{")  # a problem: there is no such route
    assert "page" not in closed["routes"]
    assert opened["page"] == "<!doctype html>"
    assert opened["routes"]["page"] == ["GET", "{*path}", "anonymous"]
    assert opened["routes"]["classify"] == ["POST", "api/classify", "anonymous"]
    assert opened["classify"][0] == 200


def test_the_host_file_is_of_the_second_programming_model():
    host = json.loads((ROOT / "azure_function/host.json").read_text())
    assert host["version"] == "2.0"
    assert host["extensionBundle"]["version"].startswith("[4.")
