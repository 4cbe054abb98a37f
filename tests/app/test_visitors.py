"""As many visitors as there are places, each with a kernel of their own and no way to run code."""

import base64
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from contextlib import closing, contextmanager
from fnmatch import fnmatch
from importlib import metadata
from itertools import count
from urllib.parse import urlsplit

import psutil
import pytest
import requests
import websocket
from axe_playwright_python.sync_playwright import Axe
from jupyter_server.services.kernels.connection.base import (
    deserialize_msg_from_ws_v1,
    serialize_msg_to_ws_v1,
)
from packaging.requirements import Requirement

from app import wire
from birds import drawn
from tests.browser import Visit, answers, chromium, eventually, free_port, served_page
from tests.conftest import ROOT
from tests.stand_in import stand_in

PLACES = 2
KEY = "a-key-nobody-may-see"


@pytest.fixture(scope="module")
def function():
    with stand_in() as function:
        yield function


@pytest.fixture(scope="module")
def busy_page(function, tmp_path_factory):
    log = tmp_path_factory.mktemp("logs") / "page.txt"
    with served_page(function.url, log, KEY, FIELDMARK_VISITORS=str(PLACES)) as url:
        yield url


@pytest.fixture
def page(busy_page):
    """Return the address of a page that nobody looks at, with one kernel that is ready."""
    eventually(lambda: ready() and len(running()) == 1 and freed(busy_page))
    return busy_page


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@contextmanager
def visiting(browser, url: str):
    visit = Visit(browser, url)
    try:
        yield visit
    finally:
        visit.leave()
        visit.page.context.close()


KNOWN = set()  # kernels that were ever seen


def freed(page: str) -> bool:
    """Tell whether Voila has noticed that those kernels ended which have no process any more."""
    ended = KNOWN - set(running())
    return all(
        requests.get(f"{page}api/kernels/{each}", timeout=90).status_code == 404 for each in ended
    )


def running() -> dict[str, int]:
    """Return the kernels of the pages that this test serves, and their processes."""
    found = {}
    for process in psutil.Process().children(recursive=True):
        try:
            kernel = re.search(r"kernel-([\w-]{36})\.json", " ".join(process.cmdline()))
        except psutil.Error:  # it ended just now
            continue
        if kernel:
            found[kernel[1]] = process.pid
    KNOWN.update(found)
    return found


def kernel_of(page: str) -> str:
    """Return the id that a page has for its kernel."""
    return re.search(r'"kernelId": "([\w-]{36})"', page)[1]


def ready() -> bool:
    """Tell whether all kernels have run the notebook: then they sleep."""
    pids = running().values()
    try:
        return all(psutil.Process(pid).cpu_percent(0.3) < 5 for pid in pids)
    except psutil.Error:
        return False


def glance(url: str) -> requests.Response:
    """Fetch the page as the preview of a link does: no script of it runs."""
    return requests.get(url, timeout=90)


@contextmanager
def socket_of(page: str, kernel: str, protocols=(wire.SHORT,)):
    """Open a kernel's socket as a stranger who knows its id."""
    url = f"{page}api/kernels/{kernel}/channels?session_id=stranger".replace("http", "ws", 1)
    with closing(websocket.create_connection(url, 90, subprotocols=list(protocols))) as socket:
        yield socket


def message(kind: str, content: dict, number: int = 0) -> dict:
    header = {"msg_id": f"m{number}", "msg_type": kind, "session": "stranger", "username": ""}
    header |= {"version": "5.3", "date": "2026-01-01T00:00:00Z"}
    return {"header": header, "parent_header": {}, "metadata": {}, "content": content}


def short(kind, content: dict, channel: str = "shell", number: int = 0, metadata=None) -> bytes:
    """Write a message as the page's own scripts do."""
    wanted = message(kind, content, number) | {"metadata": metadata or {}}
    return serialize_msg_to_ws_v1(wanted, channel, lambda part: json.dumps(part).encode())


def answered(socket, number: int) -> list[str]:
    """Return the kinds of all messages that came until the one that answers kernel_info."""
    kinds = []
    while True:
        frame = socket.recv()
        assert frame, "the socket was closed"
        if isinstance(frame, bytes):
            header, parent, *_ = map(json.loads, deserialize_msg_from_ws_v1(frame)[1][:4])
        else:
            header, parent = (json.loads(frame)[name] for name in ("header", "parent_header"))
        kinds.append(header["msg_type"])
        if kinds[-1] == "kernel_info_reply" and parent["msg_id"] == f"m{number}":
            return kinds


@pytest.mark.browser
def test_one_more_visitor_than_places_waits_and_gets_the_place_of_the_first_who_leaves(
    browser, page
):
    with visiting(browser, page) as first, visiting(browser, page):
        context = browser.new_context(viewport={"width": 390, "height": 844})
        late = context.new_page()
        answer = late.goto(page)
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) == 10
        assert late.get_by_role("heading", name="All places are taken").is_visible()
        assert late.title() == "Fieldmark"
        assert "kernelId" not in late.content()
        assert not Axe().run(late).violations_count
        if folder := os.environ.get("FIELDMARK_SHOTS"):
            late.screenshot(path=f"{folder}/390-busy.png")
        assert len(running()) == PLACES
        first.leave()
        late.get_by_role("button", name="photo").wait_for(timeout=90_000)  # nobody reloads it
        assert len(running()) == PLACES
        late.goto("about:blank")
        context.close()


@pytest.mark.parametrize("query", ["", "?theme=x", "?template=lab&theme=dark", "?voila-theme=dark"])
def test_no_query_gets_past_the_places_or_past_the_kernels_that_are_ready(page, query):
    before = set(running())
    seen = [glance(page + query) for _ in range(PLACES + 2)]
    assert [answer.status_code for answer in seen] == [200] * PLACES + [503] * 2
    assert kernel_of(seen[0].text) in before
    assert 'data-jp-theme-name="JupyterLab Light"' in seen[0].text
    assert len({kernel_of(answer.text) for answer in seen[:PLACES]}) == PLACES
    assert len(running()) <= PLACES


@pytest.mark.browser
def test_previews_of_links_hold_no_place_for_long_and_the_next_kernel_is_ready(browser, page):
    shown = {kernel_of(glance(page).text) for _ in range(PLACES)}
    assert glance(page).status_code == 503
    eventually(lambda: not shown & set(running()) and running() and ready())
    waiting = set(running())
    with visiting(browser, page) as visit:
        assert kernel_of(visit.page.content()) in waiting


@pytest.mark.browser
def test_after_all_left_the_next_visitor_gets_a_kernel_that_is_ready(browser, page):
    with visiting(browser, page) as first, visiting(browser, page) as second:
        held = {kernel_of(visit.page.content()) for visit in (first, second)}
        assert held == set(running())
    eventually(lambda: not held & set(running()) and running() and ready())
    waiting = set(running())
    assert kernel_of(glance(page).text) in waiting


@pytest.mark.browser
def test_what_a_visitor_has_stays_where_the_kernel_has_ended(browser, page):
    with visiting(browser, page) as visit:
        visit.pick("bird.jpg", drawn.encode_photo(drawn.draw_bird("Green_Inkling")))
        visit.page.locator(".bars").wait_for()
        kernel = kernel_of(visit.page.content())
        os.kill(running()[kernel], signal.SIGKILL)
        eventually(
            lambda: requests.get(f"{page}api/kernels/{kernel}", timeout=90).status_code == 404
        )
        visit.page.locator("h1").click()
        visit.page.get_by_role("alert").get_by_text("its place was given up").wait_for()
        assert visit.page.locator(".bars").is_visible()
        visit.pick("other.jpg", drawn.encode_photo(drawn.draw_bird("Night_Inkling")))
        visit.page.get_by_text("The page has lost its connection.").wait_for()
        visit.page.get_by_role("button", name="Load it anew").click()
        visit.page.get_by_text("Your photo and its answer appear here.").wait_for()


@pytest.mark.browser
def test_a_page_without_a_photo_begins_anew_by_itself(browser, page):
    with visiting(browser, page) as visit:
        kernel = kernel_of(visit.page.content())
        os.kill(running()[kernel], signal.SIGKILL)
        eventually(
            lambda: requests.get(f"{page}api/kernels/{kernel}", timeout=90).status_code == 404
        )
        with visit.page.expect_navigation():
            visit.page.locator("h1").click()
        visit.button.wait_for()
        assert kernel_of(visit.page.content()) != kernel


def test_a_visitor_who_is_lost_without_a_word_keeps_no_place(page):
    kernel = kernel_of(glance(page).text)
    with socket_of(page, kernel) as socket:
        socket.send_binary(short("kernel_info_request", {}))
        answered(socket, 0)
    assert kernel in running()
    eventually(lambda: kernel not in running())


def test_a_visitor_stays_for_longer_than_a_page_that_nobody_opened(page):
    kernel, other = (kernel_of(glance(page).text) for _ in range(PLACES))
    with socket_of(page, kernel):
        eventually(lambda: other not in running())
        assert kernel in running()


def test_asking_for_the_head_or_for_another_address_takes_no_kernel(page):
    before = running()
    assert requests.head(page, timeout=90).status_code == 200
    for path in ("favicon.ico", "robots.txt", "app.ipynb", "voila/render/app.ipynb"):
        answer = glance(page + path)
        assert answer.status_code == 404
        assert "cdn" not in answer.text
    assert running() == before
    assert kernel_of(glance(page).text) in before


def test_a_kernel_that_dies_while_it_waits_is_replaced(page):
    (kernel, pid), *_ = running().items()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: running() and kernel not in running() and ready())
    waiting = set(running())
    assert kernel_of(glance(page).text) in waiting


def test_a_kernel_that_fails_to_start_is_replaced(function, tmp_path):
    log, tries = tmp_path / "log", tmp_path / "tries"
    script = f"""
        import sys, os, pathlib
        tries = pathlib.Path({str(tries)!r})
        tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
        if len(tries.read_text()) < 3:
            sys.exit(1)
        os.execv(sys.executable, [sys.executable, "-m", "ipykernel_launcher", *sys.argv[1:]])
    """
    (tmp_path / "kernels/python3").mkdir(parents=True)
    (tmp_path / "start.py").write_text(textwrap.dedent(script))
    start = [sys.executable, str(tmp_path / "start.py"), "-f", "{connection_file}"]
    spec = {"argv": start, "display_name": "Python 3", "language": "python"}
    (tmp_path / "kernels/python3/kernel.json").write_text(json.dumps(spec))
    path = os.pathsep.join([".", str(tmp_path)])
    with served_page(function.url, log, JUPYTER_PATH=path, FIELDMARK_VISITORS="1") as url:
        eventually(lambda: tries.exists() and len(tries.read_text()) == 3)
        eventually(lambda: running() and ready())
        waiting = set(running())
        assert log.read_text().count("could not be started") == 2
        assert kernel_of(glance(url).text) in waiting


def test_a_number_of_visitors_that_is_none_is_told(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "front", "app.ipynb", f"--port={free_port()}"],
        cwd=ROOT / "app",
        env=os.environ | {"JUPYTER_PATH": ".", "FIELDMARK_VISITORS": "many"},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode != 0
    assert "FIELDMARK_VISITORS is 'many'" in done.stderr


def test_code_that_a_visitor_sends_is_not_run_by_any_way(page, tmp_path):
    kernel, numbers = kernel_of(glance(page).text), count(1)
    made = tmp_path / "made"
    code = {"code": f"open({str(made)!r}, 'w')", "silent": False, "allow_stdin": False}
    code |= {"store_history": True, "user_expressions": {}, "stop_on_error": True}
    asked = [
        ("execute_request", code),
        ("complete_request", {"code": "open", "cursor_pos": 4}),
        ("inspect_request", {"code": "open", "cursor_pos": 4, "detail_level": 1}),
        ("history_request", {"hist_access_type": "tail", "n": 9, "output": False, "raw": True}),
        ("comm_open", {"comm_id": "c", "target_name": "jupyter.widget", "data": {"state": {}}}),
        ("debug_request", {"type": "request", "seq": 1, "command": "debugInfo", "arguments": {}}),
        ("shutdown_request", {"restart": True}),
    ]
    hello = ("kernel_info_request", {})
    with socket_of(page, kernel) as socket:
        for kind, content in asked:
            for channel in ("shell", "control", "stdin"):
                socket.send_binary(short(kind, content, channel, next(numbers)))
        socket.send_binary(short(*hello, number=(last := next(numbers))))
        kinds = set(answered(socket, last))
    with socket_of(page, kernel, protocols=()) as socket:
        for kind, content in asked:
            for channel in ("shell", "control", "stdin", None):
                socket.send(
                    json.dumps(message(kind, content, next(numbers)) | {"channel": channel})
                )
        greeting = message(*hello, number=(last := next(numbers))) | {"channel": "shell"}
        socket.send(json.dumps(greeting))
        kinds |= set(answered(socket, last))
    assert kinds <= {"status", "kernel_info_reply"}
    assert not made.exists()
    assert kernel in running()


def received(socket, *parts: bytes) -> list:
    """Return the frames that came until one that has all these parts."""
    frames = []
    while not frames or not all(part in frames[-1] for part in parts):
        frames.append(socket.recv())
        assert frames[-1], "the socket was closed"
    return frames


def test_a_widget_is_heard_and_a_trace_of_its_fault_is_not_sent(page):
    kernel = kernel_of(glance(page).text)
    with socket_of(page, kernel) as socket:
        control = {"comm_id": "control", "target_name": wire.CONTROL, "data": {}}
        version = {"version": "1.0.0"}
        socket.send_binary(short("comm_open", control, number=1, metadata=version))
        states = {"comm_id": "control", "data": {"method": "request_states"}}
        socket.send_binary(short("comm_msg", states, number=2))
        answer = received(socket, b'"comm_msg"', b'"states"')[-1]
        widgets = json.loads(deserialize_msg_from_ws_v1(answer)[1][3])["data"]["states"]
        assert widgets
        for comm in widgets:
            wrong = {"method": "update", "state": {"_dom_classes": 5}, "buffer_paths": []}
            socket.send_binary(short("comm_msg", {"comm_id": comm, "data": wrong}, number=4))
        socket.send_binary(short("kernel_info_request", {}, number=5))
        seen = b"".join(received(socket, b"kernel_info_reply", b'"m5"'))
        socket.send_binary(short("kernel_info_request", {}, number=6))  # prints come by another way
        seen += b"".join(received(socket, b'"m6"', b'"idle"'))
    assert b"Traceback" not in seen
    assert b'"stream"' not in seen
    assert kernel in running()


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        "text",
        (2**40).to_bytes(8, "little") + bytes(64),  # so many parts would fill the memory
        (2**64 - 1).to_bytes(8, "little") + bytes(64),
        (1).to_bytes(8, "little") + bytes(64),
        short("comm_msg", {})[:80],
        short("comm_msg", {}, "control"),
        short("execute_request", {}),
        short(["comm_msg"], {}),
        short("comm_open", {}),
        short("comm_open", {"target_name": "jupyter.widget"}),
        short("comm_open", {"target_name": wire.CONTROL}, "control"),
    ],
)
def test_what_no_widget_says_is_dropped(wrong):
    assert not wire.harmless(wrong, short=True)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "[]",
        "{}",
        '{"header": 1}',
        json.dumps(message("comm_msg", {})),  # no channel is Jupyter's shell
        json.dumps(message("execute_request", {}) | {"channel": "shell"}),
        (2**31 - 1).to_bytes(4, "big") + bytes(64),
    ],
)
def test_what_no_widget_says_is_dropped_in_json_too(wrong):
    assert not wire.harmless(wrong, short=False)


def test_what_widgets_say_is_passed_on():
    for kind in ("comm_msg", "comm_close", "comm_info_request", "kernel_info_request"):
        assert wire.harmless(short(kind, {}) + bytes(99), short=True)
        assert wire.harmless(json.dumps(message(kind, {}) | {"channel": "shell"}), short=False)
    assert wire.harmless(short("comm_open", {"target_name": wire.CONTROL}), short=True)


HIDDEN = [
    *("/page.py", "/app.ipynb", "/voila.json", "/../Procfile", "/%2e%2e/Procfile"),
    *("/voila/files/page.py", "/voila/files/app.ipynb", "/voila/files/html/about.html"),
    *("/voila/files/../page.py", "/voila/files/%2e%2e/Procfile", "/files/page.py"),
    *("/voila/static/../../page.py", "/voila/static/%2e%2e/%2e%2e/%2e%2e/page.py"),
    *("/voila/static//etc/passwd", "/voila/labextensions/%2e%2e/%2e%2e/page.py"),
    *("/voila/templates/fieldmark/static/page.css", "/voila/api/themes/%2e%2e/%2e%2e/page.py"),
    *("/api/contents", "/api/contents/app.ipynb", "/voila/api/contents", "/api/sessions"),
    *("/api/kernels", "/api/kernels/", "/api/kernelspecs", "/api/terminals", "/api/status"),
    *("/login", "/logout", "/voila/tree", "/tree", "/metrics", "/edit/page.py", "/lab"),
    "/api/kernels/00000000-0000-4000-8000-000000000000",
]


@pytest.mark.parametrize("path", HIDDEN)
def test_no_file_and_no_list_can_be_read(busy_page, path):
    with closing(http.client.HTTPConnection(urlsplit(busy_page).netloc, timeout=90)) as line:
        line.request("GET", path)  # as it stands: requests would tidy the path
        answer = line.getresponse()
        assert answer.status in (403, 404)
        body = answer.read()
        assert not [part for part in (b"ipywidgets", b"strip_sources", b"root:x") if part in body]


@pytest.mark.browser
def test_two_visitors_see_nothing_of_each_other_and_nothing_of_the_key(browser, function, page):
    photo = drawn.encode_photo(drawn.draw_bird("Blue_backed_Inkling", 3, 300, 200), quality=90)
    with visiting(browser, f"{page}?secret=robin") as one, visiting(browser, page) as other:
        one.pick("bird.jpg", photo)
        one.page.locator(".bars").wait_for()
        sent = function.photos[-1]
        assert kernel_of(one.page.content()) != kernel_of(other.page.content())
        seen = other.everything_received()
        for data in (photo, sent):
            middle = len(data) // 2  # where no two photos are alike
            for part in (data, data[middle : middle + 200], base64.b64encode(data[middle:])):
                assert part not in seen
        assert other.page.locator(".bars").count() == 0
        for visit in (one, other):
            assert b"Fieldmark" in visit.everything_received()
            assert KEY.encode() not in visit.everything_received()
        for pid in running().values():
            assert "robin" not in str(psutil.Process(pid).environ())


def test_the_procfile_serves_the_page_and_takes_no_other_port(function):
    command = re.match("web: (.*)", (ROOT / "Procfile").read_text(encoding="utf-8"))[1]
    port = free_port()
    environment = os.environ | {"PORT": str(port), "FIELDMARK_FUNCTION_URL": function.url}
    environment["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
    start = ["sh", "-c", command]
    first = subprocess.Popen(start, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: answers(f"http://127.0.0.1:{port}/voila/static/voila.js"))
        assert "Fieldmark" in glance(f"http://127.0.0.1:{port}/").text
        second = subprocess.run(start, cwd=ROOT, env=environment, capture_output=True, timeout=90)
        assert second.returncode == 1
        assert b"no available port" in second.stderr
    finally:
        for process in psutil.Process(first.pid).children(recursive=True):
            process.terminate()
        first.terminate()
        first.wait(90)


def kept() -> list[str]:
    """Return the files of this repository that Heroku takes into its slug."""
    rules = (ROOT / ".slugignore").read_text(encoding="utf-8").splitlines()
    rules = [rule.rstrip("/") for rule in rules if rule and rule[0] != "#"]
    files = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    return [
        name
        for name in files
        if not any(fnmatch(part, rule) for rule in rules for part in (*name.split("/"), name))
    ]


def test_the_slug_holds_the_page_alone():
    names = kept()
    assert {name.split("/")[0] for name in names} == {
        *("app", "Procfile", "requirements.txt", ".python-version", ".slugignore", "app.json"),
        "LICENSE",
    }
    assert {f"app/{name}" for name in ("app.ipynb", "front.py", "page.py")} <= set(names)
    assert sum((ROOT / name).stat().st_size for name in names) < 1e6


def test_what_the_page_needs_is_far_below_the_limit_of_a_slug():
    """Python itself is not counted; it takes less than half of what is left."""
    size, todo, done = 0, (ROOT / "requirements.txt").read_text().splitlines(), set()
    while todo:
        wanted = Requirement(line) if (line := todo.pop().split("#")[0].strip()) else None
        if not wanted or wanted.name in done or (wanted.marker and not wanted.marker.evaluate()):
            continue
        done.add(wanted.name)
        found = metadata.distribution(wanted.name)
        todo += [each for each in found.requires or [] if "extra ==" not in each]
        size += sum(path.size or 0 for path in found.files)
    assert {"voila", "ipykernel", "requests", "tornado", "nbconvert"} <= done
    assert not {"torch", "onnxruntime", "numpy"} & done
    assert 20e6 < size < 150e6


def test_the_app_of_heroku_names_each_setting_of_the_page():
    app = json.loads((ROOT / "app.json").read_text(encoding="utf-8"))
    assert set(app["env"]) == {
        *("FIELDMARK_FUNCTION_URL", "FIELDMARK_FUNCTION_KEY", "FIELDMARK_VISITORS"),
    }
    assert "value" not in app["env"]["FIELDMARK_FUNCTION_KEY"]
    assert app["formation"]["web"]["quantity"] == 1  # a second would not know the first's kernels
