"""The bundle of the page's JavaScript modules, for the notebook and as a page without a kernel."""

import re
import sys
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


def test_the_page_has_nothing_inline_and_loads_its_own_files_only():
    page = bundle.render_page()["index.html"]
    files = re.findall(r'(?:src|href)="(?!data:)([^"]+)"', page)
    assert [re.sub(r"\?[0-9a-f]{12}$", "", file) for file in files] == ["page.css", "page.js"]
    assert page.count("<script") == 1
    assert not re.search(r"<style| style=| on\w+=|<script[^>]*>[^<]|unsafe", page)
    assert "connect-src 'self'" in page


def test_a_changed_file_gets_another_url(monkeypatch):
    before = bundle.render_page()["index.html"]
    monkeypatch.setattr(bundle, "bundle_modules", lambda _: "// another")
    assert bundle.render_page()["index.html"] != before


def test_a_page_for_a_static_host_connects_to_one_function(tmp_path):
    folder = tmp_path / "page"
    run([sys.executable, ROOT / "app/bundle.py", folder, "https://birds.example/"], check=True)
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert 'data-function="https://birds.example"' in page
    assert "connect-src https://birds.example;" in page


def test_browser_and_client_share_one_set_of_messages():
    script = bundle.render_page()["page.js"]
    assert all(message in script for message in client.MESSAGES.values())
