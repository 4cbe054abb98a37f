"""A stand-in for ClearML's API and file server, which cannot be installed without Docker.

It keeps what a client sends and answers what the client needs. So tests with it show that the
client's calls are complete and in order, and not that a real server accepts each of them.
"""

import json
import threading
import time
import uuid
from contextlib import contextmanager
from copy import deepcopy
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt

API_VERSION = "2.23"  # an older open-source server's
EMPTY = {  # what a server adds to a new one
    "task": {"output": {}, "execution": {}, "script": {}, "models": {"input": [], "output": []}}
}


class FakeClearML:
    """What clients sent: tasks and models by their ids, events, and files by their paths."""

    def __init__(self):
        self.tasks, self.models, self.projects = {}, {}, {}
        self.events, self.files, self.calls = [], {}, []

    def handle_call(self, call: str, fields: dict) -> dict:
        """Return the data of the response to a call such as `tasks.create`."""
        self.calls.append(call)
        service, action = call.split(".")
        if call == "auth.login":
            facts = {"exp": int(time.time()) + 9999, "api_version": API_VERSION}
            return {"token": jwt.encode(facts, "k" * 32)}
        if service in ("tasks", "models", "projects"):
            kept = getattr(self, service)
            return self.handle_entry(kept, service.removesuffix("s"), action, fields)
        if call == "events.add":
            self.events.append(fields)
        return {}

    def handle_entry(self, kept: dict, kind: str, action: str, fields: dict) -> dict:
        """Create, change or return tasks, models or projects."""
        if action == "create":
            key = fields.get("id") or uuid.uuid4().hex
            kept[key] = {"id": key, "status": "created"} | deepcopy(EMPTY.get(kind, {})) | fields
            return {"id": key, "created": True}
        if action.startswith("get_all"):
            wanted = fields.get("id") or list(kept)
            return {f"{kind}s": [kept[key] for key in wanted if key in kept]}
        entry = kept.get(fields.pop(kind, None), {})
        if action == "get_by_id":
            return {kind: entry}
        if action == "edit_hyper_params":
            for parameter in fields["hyperparams"]:
                section = entry.setdefault("hyperparams", {}).setdefault(parameter["section"], {})
                section[parameter["name"]] = parameter
        elif action == "add_or_update_artifacts":
            artifacts = entry.setdefault("execution", {}).setdefault("artifacts", [])
            artifacts += fields["artifacts"]
        elif action == "add_or_update_model":
            entry["models"][fields["type"]].append(fields["model"])
        elif action in ("started", "completed", "stopped", "failed"):
            entry["status"] = {"started": "in_progress"}.get(action, action)
        else:
            entry |= fields
        return {"updated": 1, "fields": fields}

    def scalars(self) -> dict[tuple, float]:
        """Return each scalar by metric, variant and step; one that occurs twice fails."""
        points = [event for event in self.events if event["type"] == "training_stats_scalar"]
        found = {(e["metric"], e["variant"], e["iter"]): e["value"] for e in points}
        assert len(found) == len(points)
        return found

    def read_file(self, address: str) -> bytes:
        """Return the file that a client has uploaded to an address."""
        return self.files[address.split("/files", 1)[1]]


@contextmanager
def serve(fake: FakeClearML):
    """Serve it on this computer; yield its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            """Print nothing."""

        def respond(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.split("?")[0]
            if path.startswith("/files"):
                kind = self.headers["Content-Type"] or ""
                form = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
                for part in form.get_payload() if form.is_multipart() else ():
                    name = part.get_param("filename", header="content-disposition")
                    fake.files[name] = part.get_payload(decode=True)
                data, lines = {}, []
            else:
                lines = [json.loads(line) for line in body.decode().splitlines() if line.strip()]
                call = path.rsplit("/", 1)[1]
                if call == "events.add_batch":
                    fake.events += lines
                    call, lines = "events.added", []
                data = fake.handle_call(call, lines[0] if lines else {})
            meta = {"result_code": 200, "result_subcode": 0, "result_msg": "OK"}
            reply = json.dumps({"meta": meta, "data": data}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        do_GET = do_POST = do_PUT = respond

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
