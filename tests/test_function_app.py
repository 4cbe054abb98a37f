"""What Azure gets: the content of azure_function/, alone."""

import json
import shutil
import subprocess
import sys

from birds import drawn
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

def ask(method, path, body=b""):
    url = "https://fieldmark.example/api/" + path
    answer = asyncio.run(
        function_app.answer(func.HttpRequest(method=method, url=url, headers={}, body=body), None)
    )
    return [answer.status_code, json.loads(answer.get_body())]

routes = {}
for function in function_app.app.get_functions():
    trigger = function.get_trigger()
    routes[trigger.route] = [trigger.methods[0].value, trigger.auth_level.value]
photo_bytes = open(FOLDER + "/photo.jpg", "rb").read()
from birds import photo
def fail(*_):
    raise RuntimeError("secret")
read, photo.read = photo.read, fail
fault = ask("POST", "classify", photo_bytes)
photo.read = read
print(json.dumps({
    "fault": fault,
    "from": birds.__file__,
    "routes": routes,
    "classify": ask("POST", "classify?top=2", photo_bytes),
    "text": ask("POST", "classify", b"Dear bird,"),
    "health": ask("GET", "health"),
}))
"""


def run_alone(folder) -> dict:
    """Import a copy of azure_function/ in a process without the rest, and ask it things."""
    script = ALONE.replace("FOLDER", repr(str(folder))).replace("ROOT", repr(str(ROOT)))
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_folder_works_copied_elsewhere(tmp_path, model):
    folder = tmp_path / "wwwroot"
    shutil.copytree(ROOT / "azure_function", folder, ignore=shutil.ignore_patterns("model"))
    (folder / "model").mkdir()
    shutil.copy(model, folder / "model")
    (folder / "photo.jpg").write_bytes(drawn.encoded(drawn.bird("Night_Inkling")))
    found = run_alone(folder)
    assert found["from"].startswith(str(folder))
    assert found["routes"] == {
        "classify": ["POST", "function"],
        "health": ["GET", "anonymous"],
        "model": ["GET", "anonymous"],
        "docs": ["GET", "anonymous"],
        "openapi.json": ["GET", "anonymous"],
    }
    status, body = found["classify"]
    assert status == 200
    assert len(body["predictions"]) == 2
    assert found["text"][0] == 415
    assert found["health"][1]["status"] == "ready"
    status, body = found["fault"]
    assert (status, body["type"]) == (500, "urn:fieldmark:internal-error")
    assert "secret" not in str(body)


def test_without_a_model_the_routes_still_exist(tmp_path):
    folder = tmp_path / "wwwroot"
    shutil.copytree(ROOT / "azure_function", folder, ignore=shutil.ignore_patterns("model"))
    (folder / "photo.jpg").write_bytes(b"")
    found = run_alone(folder)
    assert len(found["routes"]) == 5
    status, body = found["health"]
    assert status == 503
    assert "birds.onnx" in body["detail"]


def test_the_host_file_is_of_the_second_programming_model():
    host = json.loads((ROOT / "azure_function/host.json").read_text())
    assert host["version"] == "2.0"
    assert host["extensionBundle"]["version"].startswith("[4.")
