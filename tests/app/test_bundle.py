"""The page's scripts put together: for the notebook, and as one HTML file."""

import re
import sys
from base64 import b64encode
from hashlib import sha256
from subprocess import run

import pytest

from app import bundle
from tests.conftest import ROOT


@pytest.mark.parametrize("entry", ["widget.js", "static.js"])
def test_a_script_holds_each_module_once_and_imports_nothing(entry):
    text = bundle.script(entry)
    assert not re.search(r"^import ", text, re.MULTILINE)
    assert not re.search(r"^export (?!default)", text, re.MULTILINE)
    for module in bundle.FOLDER.glob("*.js"):
        first = module.read_text(encoding="utf-8").splitlines()[0]
        expected = int(module.name not in ({"widget.js", "static.js"} - {entry}))
        assert text.count(first) == expected, module.name


def test_no_name_is_declared_twice_in_the_scope_that_the_modules_share():
    declared = re.findall(
        r"^(?:async )?(?:const|let|function|class) (\w+)", bundle.script("static.js"), re.MULTILINE
    )
    assert len(declared) > 30
    assert len(declared) == len(set(declared))


def test_the_page_allows_its_own_script_and_no_other():
    page = bundle.page()
    script = re.search('<script type="module">(.*)</script>', page, re.DOTALL)[1]
    assert f"sha256-{b64encode(sha256(script.encode()).digest()).decode()}" in page
    assert "connect-src 'self'" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)


def test_a_page_for_a_static_host_asks_one_function(tmp_path):
    file = tmp_path / "index.html"
    run([sys.executable, ROOT / "app/bundle.py", file, "https://birds.example/"], check=True)
    page = file.read_text(encoding="utf-8")
    assert 'data-function="https://birds.example"' in page
    assert "connect-src https://birds.example;" in page
