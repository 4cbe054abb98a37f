"""Put the page's JavaScript modules together: for the notebook's widget, or as one HTML file.

    python app/bundle.py index.html https://<function>.azurewebsites.net

writes a page that asks that function itself; without an address, the server it came from.
"""

import re
import sys
from base64 import b64encode
from hashlib import sha256
from html import escape
from pathlib import Path

APP = Path(__file__).parent
FOLDER = APP / "browser"
LOOK = APP / "voila" / "templates" / "fieldmark"
IMPORT = re.compile(r'^import (?:[^;]*?from )?"\./(?P<name>[a-z]+\.js)";\n', re.MULTILINE)


def script(entry: str) -> str:
    """Return a module and all that it imports, each once and before it is needed.

    The modules import each other by name, from this folder, and share one scope here.
    """
    return "\n".join(_modules(entry, {}).values())


def _modules(name: str, found: dict[str, str]) -> dict[str, str]:
    text = (FOLDER / name).read_text(encoding="utf-8")
    for wanted in IMPORT.finditer(text):
        if wanted["name"] not in found:
            _modules(wanted["name"], found)
    text = IMPORT.sub("", text)
    found[name] = re.sub(r"^export (?!default)", "", text, flags=re.MULTILINE)
    return found


def page(function: str = "") -> str:
    """Return the page without a kernel, as HTML that loads nothing and asks only `function`."""
    code = script("static.js")
    hashed = b64encode(sha256(code.encode()).digest()).decode()
    asked = escape(function) or "'self'"
    parts = {
        "policy": f"default-src 'none'; script-src 'sha256-{hashed}'; style-src 'unsafe-inline'; "
        f"img-src data: blob:; connect-src {asked}; base-uri 'none'",
        "icon": (LOOK / "icon.html").read_text(encoding="utf-8"),
        "style": (LOOK / "page.css").read_text(encoding="utf-8"),
        "function": escape(function),
        "script": code,
    }
    template = (FOLDER / "static.html").read_text(encoding="utf-8")
    return re.sub(r"\{(\w+)\}", lambda part: parts.get(part[1], part[0]), template)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(*(each.rstrip("/") for each in sys.argv[2:3])), "utf-8")
