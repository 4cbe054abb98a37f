"""Bundle the page's JavaScript modules, for the notebook's widget or into one HTML file.

    python app/bundle.py index.html https://<function>.azurewebsites.net

writes a page that sends its requests to that function; without an address, to its own server.
"""

import re
import sys
from base64 import b64encode
from hashlib import sha256
from html import escape
from pathlib import Path

APP = Path(__file__).parent
MODULES = APP / "browser"
TEMPLATE = APP / "voila" / "templates" / "fieldmark"
IMPORT = re.compile(
    r'^import (?P<binding>[^;]*?) from "\./(?P<file>[\w.-]+)"(?: with [^;]+)?;\n', re.MULTILINE
)


def bundle_modules(entry: str) -> str:
    """Return a module preceded by all that it imports, each file once.

    The modules import each other by file name from one folder, and share one scope here. A JSON
    file becomes a constant.
    """
    return "\n".join(_bundle(entry, {}).values())


def _bundle(name: str, sources: dict[str, str]) -> dict[str, str]:
    source = (MODULES / name).read_text(encoding="utf-8")
    for statement in IMPORT.finditer(source):
        dependency = statement["file"]
        if dependency in sources:
            continue
        if dependency.endswith(".json"):
            data = (MODULES / dependency).read_text(encoding="utf-8").strip()
            sources[dependency] = f"const {statement['binding']} = {data};\n"
        else:
            _bundle(dependency, sources)
    source = IMPORT.sub("", source)
    sources[name] = re.sub(r"^export (?!default)", "", source, flags=re.MULTILINE)
    return sources


def render_page(function_url: str = "") -> str:
    """Return the page without a kernel: one HTML file that connects to `function_url` only."""
    script = bundle_modules("static.js")
    allowed_url = escape(function_url) or "'self'"
    digest = b64encode(sha256(script.encode()).digest()).decode()
    values = {
        "policy": f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        f"img-src data: blob:; connect-src {allowed_url}; base-uri 'none'",
        "icon": (TEMPLATE / "icon.html").read_text(encoding="utf-8"),
        "style": (TEMPLATE / "page.css").read_text(encoding="utf-8"),
        "function": escape(function_url),
        "script": script,
    }
    template = (MODULES / "static.html").read_text(encoding="utf-8")
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), template)


if __name__ == "__main__":
    target, function_url = Path(sys.argv[1]), "".join(sys.argv[2:3]).rstrip("/")
    target.write_text(render_page(function_url), encoding="utf-8")
