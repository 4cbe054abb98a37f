"""The bundle of the page's JavaScript modules, for the notebook and as one HTML file."""

import re
import sys
from base64 import b64encode
from hashlib import sha256
from subprocess import run

import pytest

from app import bundle, client
from tests.conftest import ROOT

ENTRIES = {"widget.js", "static.js"}


@pytest.mark.parametrize("entry", sorted(ENTRIES))
def test_a_bundle_holds_each_module_once_and_imports_nothing(entry):
    text = bundle.bundle_modules(entry)
    assert not re.search(r"^import ", text, re.MULTILINE)
    assert not re.search(r"^export (?!default)", text, re.MULTILINE)
    for module in bundle.MODULES.glob("*.js"):
        if module.name in ENTRIES - {entry} or (module.name, entry) == ("request.js", "widget.js"):
            continue
        first_line = module.read_text(encoding="utf-8").splitlines()[0]
        assert text.count(first_line) == 1, module.name


@pytest.mark.parametrize("entry", sorted(ENTRIES))
def test_no_name_is_declared_twice_in_the_shared_scope(entry):
    declaration = r"^(?:async )?(?:const|let|function|class) (\w+)"
    names = re.findall(declaration, bundle.bundle_modules(entry), re.MULTILINE)
    assert len(names) > 30
    assert len(names) == len(set(names))


def test_the_page_allows_its_own_script_only():
    page = bundle.render_page()
    script = re.search('<script type="module">(.*)</script>', page, re.DOTALL)[1]
    assert f"sha256-{b64encode(sha256(script.encode()).digest()).decode()}" in page
    assert "connect-src 'self'" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)


def test_a_page_for_a_static_host_connects_to_one_function(tmp_path):
    file = tmp_path / "index.html"
    run([sys.executable, ROOT / "app/bundle.py", file, "https://birds.example/"], check=True)
    page = file.read_text(encoding="utf-8")
    assert 'data-function="https://birds.example"' in page
    assert "connect-src https://birds.example;" in page


def test_browser_and_client_share_one_set_of_messages():
    page = bundle.render_page()
    assert all(message in page for message in client.MESSAGES.values())
