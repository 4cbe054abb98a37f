"""A bounded number of visitors, each with a kernel of their own and no way to run code."""

import base64
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
from contextlib import closing, contextmanager
from itertools import count
from urllib.parse import urlsplit

import psutil
import pytest
import requests
import websocket
from axe_playwright_python.sync_playwright import Axe

from app.websocket_filter import BINARY_PROTOCOL, WIDGET_CONTROL
from birds import drawn
from tests.app.kernel_messages import binary_message, message, parse_message
from tests.browser import Server, free_port, run_page, wait_until
from tests.conftest import ROOT
from tests.fake_function import run_fake_function

pytestmark = pytest.mark.slow

CAPACITY = 2
KEY = "a-secret-key"
CONTROL = {"comm_id": "control", "target_name": WIDGET_CONTROL, "data": {}}
STATES = {"comm_id": "control", "data": {"method": "request_states"}}
SMALL_BUFFER = (socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
TIMEOUTS = ["first_request_timeout=5", "connect_timeout=12", "check_interval=1"]  # seconds


@pytest.fixture(scope="module")
def function():
    with run_fake_function() as function:
        yield function


@pytest.fixture(scope="module")
def server(function, tmp_path_factory):
    log = tmp_path_factory.mktemp("logs") / "page.txt"
    options = [f"--KernelPool.{option}" for option in TIMEOUTS]
    with run_page(function.url, log, KEY, options, FIELDMARK_VISITORS=str(CAPACITY)) as server:
        yield server


@pytest.fixture
def page(server):
    """Return the server once it has no visitors and one kernel that is ready."""
    wait_until(lambda: is_idle(server) and len(kernels(server)) == 1 and has_capacity(server))
    return server


def has_capacity(server: Server) -> bool:
    """Return whether the pool has removed the kernels whose processes ended."""
    ended = set(re.findall(r"Kernel started: ([\w-]{36})", server.log.read_text()))
    ended -= set(kernels(server))
    return all(kernel_status(server, kernel) == 404 for kernel in ended)


def kernel_status(server: Server, kernel: str) -> int:
    return requests.get(f"{server.url}api/kernels/{kernel}", timeout=90).status_code


def kernels(server: Server) -> dict[str, int]:
    """Return the running kernels' ids and processes."""
    running = {}
    for process in psutil.Process(server.process.pid).children(recursive=True):
        try:
            kernel = re.search(r"kernel-([\w-]{36})\.json", " ".join(process.cmdline()))
        except psutil.Error:  # it ended just now
            continue
        if kernel:
            running[kernel[1]] = process.pid
    return running


def is_idle(server: Server) -> bool:
    """Return whether no kernel computes: all have run the notebook."""
    try:
        pids = kernels(server).values()
        return all(psutil.Process(pid).cpu_percent(0.3) < 5 for pid in pids)
    except psutil.Error:
        return False


def kernel_of(page: str) -> str:
    """Return the id of a page's kernel."""
    return re.search(r'"kernelId": "([\w-]{36})"', page)[1]


def fetch(server: Server, path: str = "") -> requests.Response:
    """Fetch the page as the preview of a link does, without running its scripts."""
    return requests.get(server.url + path, timeout=90)


@contextmanager
def assigned_kernel(server: Server):
    """Fetch the page and yield its kernel; end the visit as a page does that is left."""
    kernel = kernel_of(fetch(server).text)
    yield kernel
    headers = {"Origin": server.url.rstrip("/")}
    requests.post(f"{server.url}voila/api/shutdown/{kernel}", headers=headers, timeout=90)


@contextmanager
def open_socket(server: Server, kernel: str, protocols=(BINARY_PROTOCOL,), **options):
    """Open a kernel's websocket, as anybody can who knows its id."""
    url = f"{server.url}api/kernels/{kernel}/channels?session_id=test".replace("http", "ws", 1)
    socket = websocket.create_connection(url, 90, subprotocols=list(protocols), **options)
    try:
        yield socket
    finally:
        socket.close()
        socket.shutdown()  # which close() leaves out if the server closed first


def receive_until_reply(socket, number: int) -> list:
    """Return the frames received until the reply to kernel_info request `number`."""
    frames = []
    while True:
        frames.append(socket.recv())
        assert frames[-1], "the socket was closed"
        header, parent, _ = parse_message(frames[-1])
        if header["msg_type"] == "kernel_info_reply" and parent["msg_id"] == f"m{number}":
            return frames


def receive_widget_states(socket) -> dict:
    """Return the states of all widgets; the message arrives on a channel of its own."""
    while True:
        frame = socket.recv()
        assert frame, "the socket was closed"
        data = parse_message(frame)[2].get("data", {})
        if "states" in data:
            return data["states"]


@pytest.mark.browser
def test_a_visitor_beyond_capacity_waits_until_another_leaves(browser, visit, page):
    first, second = visit(page.url), visit(page.url)
    context = browser.new_context(viewport={"width": 390, "height": 844})
    late = context.new_page()
    response = late.goto(page.url)
    assert response.status == 503
    assert int(response.headers["retry-after"]) == 10
    assert late.title() == "Fieldmark"
    assert "kernelId" not in late.content()
    assert not Axe().run(late).violations_count
    if folder := os.environ.get("FIELDMARK_SHOTS"):
        late.screenshot(path=f"{folder}/390-no-capacity.png")
    assert len(kernels(page)) == CAPACITY
    first.leave()
    late.get_by_role("button", name="photo").wait_for(timeout=90_000)  # it reloads by itself
    assert len(kernels(page)) == CAPACITY
    used = set(kernels(page))
    late.goto("about:blank")
    context.close()
    second.leave()
    wait_until(lambda: not used & set(kernels(page)) and kernels(page) and is_idle(page))
    ready = set(kernels(page))
    assert kernel_of(fetch(page).text) in ready


@pytest.mark.browser
def test_no_query_exceeds_the_capacity_and_a_preview_holds_a_kernel_only_briefly(visit, page):
    ready, queries = set(kernels(page)), ["?template=lab&theme=dark", "?voila-theme=dark"]
    responses = [fetch(page, query) for query in queries]
    assert [response.status_code for response in responses] == [200] * CAPACITY
    assert [fetch(page, query).status_code for query in ["", *queries]] == [503] * 3
    assert 'data-jp-theme-name="JupyterLab Light"' in responses[0].text
    assigned = [kernel_of(response.text) for response in responses]
    assert assigned[0] in ready
    assert len(set(assigned)) == CAPACITY
    assert len(kernels(page)) <= CAPACITY
    wait_until(lambda: not set(assigned) & set(kernels(page)) and kernels(page) and is_idle(page))
    ready = set(kernels(page))
    assert kernel_of(visit(page.url).page.content()) in ready


@pytest.mark.browser
def test_a_page_whose_kernel_ended_reloads_if_empty_and_keeps_its_content_otherwise(visit, page):
    def end_kernel():
        kernel = kernel_of(visitor.page.content())
        os.kill(kernels(page)[kernel], signal.SIGKILL)
        wait_until(lambda: kernel_status(page, kernel) == 404)
        return kernel

    visitor = visit(page.url)
    kernel = end_kernel()
    with visitor.page.expect_navigation():
        visitor.page.locator("h1").click()
    visitor.button.wait_for()
    assert kernel_of(visitor.page.content()) != kernel
    visitor.pick("bird.jpg", drawn.encode_photo(drawn.draw_bird("Green_Inkling")))
    visitor.wait_for_result()
    end_kernel()
    visitor.page.locator("h1").click()
    visitor.page.get_by_role("alert").wait_for()
    assert visitor.page.locator(".bars").is_visible()
    visitor.pick("other.jpg", drawn.encode_photo(drawn.draw_bird("Night_Inkling")))
    visitor.page.locator(".answer .problem").wait_for()
    visitor.page.get_by_role("button", name="Reload the page").click()
    visitor.page.locator(".placeholder").wait_for()


def test_a_kernel_lives_while_its_socket_is_open_and_ends_after(page):
    connected, unopened = (kernel_of(fetch(page).text) for _ in range(CAPACITY))
    with open_socket(page, connected):
        wait_until(lambda: unopened not in kernels(page))
        assert connected in kernels(page)
    wait_until(lambda: connected not in kernels(page))


def test_a_head_request_and_other_addresses_take_no_kernel(page):
    before = kernels(page)
    assert requests.head(page.url, timeout=90).status_code == 200
    for path in ("favicon.ico", "robots.txt", "app.ipynb", "voila/render/app.ipynb"):
        response = fetch(page, path)
        assert response.status_code == 404
        assert "cdn" not in response.text
    assert kernels(page) == before
    assert kernel_of(fetch(page).text) in before


def test_a_spare_kernel_that_dies_is_replaced(page):
    (kernel, pid), *_ = kernels(page).items()
    os.kill(pid, signal.SIGKILL)
    ready = set()

    def is_replaced() -> bool:
        ready.update(kernels(page).keys() - {kernel})
        return bool(ready) and kernel not in kernels(page) and is_idle(page)

    wait_until(is_replaced)
    assert kernel_of(fetch(page).text) in ready


def test_a_kernel_that_fails_to_start_is_replaced(function, tmp_path):
    starts = tmp_path / "starts"
    script = f"""
        import sys, os, pathlib
        starts = pathlib.Path({str(starts)!r})
        starts.write_text(starts.read_text() + "x" if starts.exists() else "x")
        if len(starts.read_text()) < 3:
            sys.exit(1)
        os.execv(sys.executable, [sys.executable, "-m", "ipykernel_launcher", *sys.argv[1:]])
    """
    (tmp_path / "kernels/python3").mkdir(parents=True)
    (tmp_path / "start.py").write_text(textwrap.dedent(script))
    command = [sys.executable, str(tmp_path / "start.py"), "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "Python 3", "language": "python"}
    (tmp_path / "kernels/python3/kernel.json").write_text(json.dumps(spec))
    environment = {
        "JUPYTER_PATH": os.pathsep.join([".", str(tmp_path)]),
        "FIELDMARK_VISITORS": "1",
    }
    with run_page(function.url, tmp_path / "log", **environment) as server:
        wait_until(lambda: starts.exists() and len(starts.read_text()) == 3)
        wait_until(lambda: kernels(server) and is_idle(server))
        ready = set(kernels(server))
        assert kernel_of(fetch(server).text) in ready


def test_an_invalid_number_of_visitors_is_reported(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "page_server", "app.ipynb", f"--port={free_port()}"],
        cwd=ROOT / "app",
        env=os.environ | {"JUPYTER_PATH": ".", "FIELDMARK_VISITORS": "many"},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode != 0
    assert "FIELDMARK_VISITORS is 'many'" in json.loads(done.stderr.splitlines()[-1])["message"]


def test_a_visitor_cannot_run_code(page, tmp_path):
    numbers = count(1)
    file = tmp_path / "created"
    code = {"code": f"open({str(file)!r}, 'w')", "silent": False, "allow_stdin": False}
    code |= {"store_history": True, "user_expressions": {}, "stop_on_error": True}
    attempts = [
        ("execute_request", code),
        ("complete_request", {"code": "open", "cursor_pos": 4}),
        ("inspect_request", {"code": "open", "cursor_pos": 4, "detail_level": 1}),
        ("history_request", {"hist_access_type": "tail", "n": 9, "output": False, "raw": True}),
        ("comm_open", {"comm_id": "c", "target_name": "jupyter.widget", "data": {"state": {}}}),
        ("debug_request", {"type": "request", "seq": 1, "command": "debugInfo", "arguments": {}}),
        ("shutdown_request", {"restart": True}),
    ]
    with assigned_kernel(page) as kernel:
        with open_socket(page, kernel) as socket:
            for message_type, content in attempts:
                for channel in ("shell", "control", "stdin"):
                    number = next(numbers)
                    socket.send_binary(
                        binary_message(message_type, content, channel, number=number)
                    )
            socket.send_binary(binary_message("kernel_info_request", {}, number=900))
            frames = receive_until_reply(socket, 900)
        with open_socket(page, kernel, protocols=()) as socket:

            def send_json(channel, message_type, content, number):
                fields = message(message_type, content, number) | {"channel": channel}
                socket.send(json.dumps(fields))

            for message_type, content in attempts:
                for channel in ("shell", "control", "stdin", None):
                    send_json(channel, message_type, content, next(numbers))
            send_json("shell", "kernel_info_request", {}, 1000)
            frames += receive_until_reply(socket, 1000)
        types = {parse_message(frame)[0]["msg_type"] for frame in frames}
        assert types <= {"status", "kernel_info_reply"}
        assert not file.exists()
        assert kernel in kernels(page)


def test_widget_messages_are_processed_and_no_traceback_is_sent(page):
    with assigned_kernel(page) as kernel, open_socket(page, kernel) as socket:

        def send(number, message_type, content, **options):
            socket.send_binary(binary_message(message_type, content, number=number, **options))

        send(1, "comm_open", CONTROL, metadata={"version": "1.0.0"})
        send(2, "comm_msg", STATES)
        widgets = receive_widget_states(socket)
        for comm in widgets:
            wrong = {"method": "update", "state": {"_dom_classes": 5}, "buffer_paths": []}
            send(4, "comm_msg", {"comm_id": comm, "data": wrong})
            send(4, "comm_msg", {"comm_id": f"{comm}x", "data": {"method": "request_state"}})
        send(5, "kernel_info_request", {})
        frames = receive_until_reply(socket, 5)
        send(6, "kernel_info_request", {})  # printed text arrives on a channel of its own
        frames += receive_until_reply(socket, 6)
        assert kernel in kernels(page)
    assert widgets
    assert b"Traceback" not in b"".join(frames)
    assert not {"stream", "error"} & {parse_message(frame)[0]["msg_type"] for frame in frames}


def test_a_websocket_is_closed_that_is_replaced_sends_too_much_or_does_not_read(page):
    with assigned_kernel(page) as kernel, open_socket(page, kernel) as first:
        with open_socket(page, kernel) as second:
            with pytest.raises((websocket.WebSocketException, OSError)):
                receive_until_reply(first, 0)
            second.send_binary(binary_message("kernel_info_request", {"more": "x" * 2**16}))
            while (frame := second.recv_data())[0] != websocket.ABNF.OPCODE_CLOSE:
                pass
            assert int.from_bytes(frame[1][:2]) == 1008
        with open_socket(page, kernel, sockopt=[SMALL_BUFFER]) as reader:
            reader.send_binary(binary_message("comm_open", CONTROL))
            memory = psutil.Process(page.process.pid).memory_info().rss
            for _ in range(80):
                reader.send_binary(binary_message("comm_msg", STATES))
            wait_until(lambda: "closed the websocket: nobody reads" in page.log.read_text())
        assert psutil.Process(page.process.pid).memory_info().rss < memory + 2**24


def test_no_frame_makes_the_server_fail(page):
    nested = {"msg_type": "comm_msg", "msg_id": "m", "session": [[[]]]}
    frames = ["", "null", "[" * 9000, '{"channel": "shell", "header": ' + '{"a":' * 2000]
    with assigned_kernel(page) as kernel:
        for protocols in ((BINARY_PROTOCOL,), ()):
            with open_socket(page, kernel, protocols) as socket:
                for frame in (*frames, json.dumps({"header": nested})):
                    socket.send(frame)
                    socket.send_binary(frame.encode())
                    socket.send_binary(b"\6" + bytes(7) + frame.encode())
                last = binary_message("kernel_info_request", {}, number=7)
                as_json = json.dumps(message("kernel_info_request", {}, 7) | {"channel": "shell"})
                socket.send_binary(last) if protocols else socket.send(as_json)
                receive_until_reply(socket, 7)
    assert_nothing_failed(page)


def assert_nothing_failed(server: Server):
    """Assert that each line of the log is a JSON object, and none is of an error."""
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert not [line for line in lines if "traceback" in line or line["level"] == "ERROR"]


def test_another_site_cannot_reach_a_kernel(page):
    cross_site = {"Origin": "http://birds.example", "Sec-Fetch-Site": "cross-site"}
    with assigned_kernel(page) as kernel:
        url, end = f"{page.url}api/kernels/{kernel}", f"{page.url}voila/api/shutdown/{kernel}"
        upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        for headers in ({"Origin": "http://birds.example"}, {}):
            channels = f"{url}/channels?session_id=test"
            assert requests.get(channels, headers=upgrade | headers, timeout=90).status_code == 403
        assert requests.post(end, headers=cross_site, timeout=90).status_code == 403
        assert requests.post(end, timeout=90).status_code == 403
        assert requests.get(url, headers=cross_site, timeout=90).status_code == 403
        assert kernel in kernels(page)


def exchange(server: Server, request: str) -> tuple[int, http.client.HTTPMessage]:
    """Send a request as it is written; return the status and headers of the response."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), 30) as connection:
        connection.sendall(request.encode("latin-1"))
        with closing(http.client.HTTPResponse(connection, method=request.split()[0])) as response:
            response.begin()
            return response.status, response.headers


ROUTES = [
    "/",
    "/voila/static/",
    "/voila/templates/",
    "/voila/labextensions/",
    "/api/kernels/0-0-0-0-0",
]
ROUTES += [
    "/voila/api/shutdown/",
    "/api/kernels/0-0-0-0-0/channels",
    "/other",
    "*",
    "http://a.example/",
]
METHODS = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "PATCH", "DELETE", "CONNECT", "BREW"]
ENDS = [
    "%00",
    "..%2f..",
    "%ff",
    "%zz",
    "a" * 3000,
    "lab/",
    "lab/static/",
    "x/../lab/static/a",
    "?%ff=%ff",
]
HEADERS = {"X-Content-Type-Options", "Referrer-Policy", "Permissions-Policy"}
HEADERS |= {"Content-Security-Policy", "Cross-Origin-Resource-Policy"}


@pytest.mark.parametrize("route", ROUTES)
def test_no_request_makes_the_server_fail_and_each_response_has_all_headers(server, route):
    tries = [(method, route) for method in METHODS if (method, route) != ("GET", "/")]
    for method, path in [
        *tries,
        *(("GET", route + end) for end in ENDS if route + end != "/?%ff=%ff"),
    ]:
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        status, headers = exchange(server, head)
        assert 200 <= status < 500, (method, path)
        assert set(headers.keys()) >= HEADERS, (method, path)
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert not {"Server", "Set-Cookie", "Location"} & set(headers.keys())
    assert_nothing_failed(server)


@pytest.mark.parametrize(
    "host", ["birds.example", "localhost.birds.example", "", "a b", "[::1", "@"]
)
def test_a_page_is_not_served_to_another_host(server, host):
    head = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    status, headers = exchange(server, head)
    assert status in (400, 421)
    assert status == 400 or "default-src 'none'" in headers["Content-Security-Policy"]


HIDDEN = [
    *("/widget.py", "/app.ipynb", "/voila.json", "/../Procfile", "/%2e%2e/Procfile"),
    *("/voila/files/widget.py", "/voila/files/app.ipynb", "/voila/files/html/about.html"),
    *("/voila/files/../widget.py", "/voila/files/%2e%2e/Procfile", "/files/widget.py"),
    *("/voila/static/../../widget.py", "/voila/static/%2e%2e/%2e%2e/%2e%2e/widget.py"),
    *("/voila/static//etc/passwd", "/voila/labextensions/%2e%2e/%2e%2e/widget.py"),
    *("/voila/templates/fieldmark/static/page.css", "/voila/api/themes/%2e%2e/%2e%2e/widget.py"),
    *("/api/contents", "/api/contents/app.ipynb", "/voila/api/contents", "/api/sessions"),
    *("/api/kernels", "/api/kernels/", "/api/kernelspecs", "/api/terminals", "/api/status"),
    *("/login", "/logout", "/voila/tree", "/tree", "/metrics", "/edit/widget.py", "/lab"),
    "/api/kernels/00000000-0000-4000-8000-000000000000",
]


@pytest.mark.parametrize("path", HIDDEN)
def test_no_file_and_no_listing_can_be_read(server, path):
    address = urlsplit(server.url).netloc
    with closing(http.client.HTTPConnection(address, timeout=90)) as connection:
        connection.request("GET", path)  # unchanged: requests would normalise the path
        response = connection.getresponse()
        assert response.status in (403, 404)
        body = response.read()
        assert not [part for part in (b"anywidget", b"strip_sources", b"root:x") if part in body]


@pytest.mark.browser
def test_visitors_receive_nothing_of_each_other_and_not_the_key(visit, function, page):
    photo = drawn.encode_photo(drawn.draw_bird("Blue_backed_Inkling", 3, 300, 200), quality=90)
    first, second = visit(f"{page.url}?secret=robin"), visit(page.url)
    first.pick("bird.jpg", photo)
    first.wait_for_result()
    sent = function.photos[-1]
    assert kernel_of(first.page.content()) != kernel_of(second.page.content())
    received = second.everything_received()
    for data in (photo, sent):
        middle = len(data) // 2  # where two photos are never the same
        for part in (data, data[middle : middle + 200], base64.b64encode(data[middle:])):
            assert part not in received
    assert second.page.locator(".bars").count() == 0
    for visitor in (first, second):
        assert b"Fieldmark" in visitor.everything_received()
        assert KEY.encode() not in visitor.everything_received()
    for pid in kernels(page).values():
        assert "robin" not in str(psutil.Process(pid).environ())
