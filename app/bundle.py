"""Bundle the page's JavaScript modules, for the notebook's widget or for a page without a kernel.

    python app/bundle.py FOLDER https://<function>.azurewebsites.net

writes index.html, page.js and page.css: a page that sends its requests to that function; without an
address, to its own server.
"""

import re
import sys
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


def render_page(function_url: str = "") -> dict[str, str]:
    """Return the page without a kernel, which connects to `function_url` only: files by name.

    Script and style are files of their own, so that the policy allows nothing inline. The function
    sends a stricter policy as a header; the one in the page is for static hosts.
    """
    files = {
        "page.js": bundle_modules("static.js"),
        "page.css": (MODULES / "static.css").read_text(encoding="utf-8")
        + (TEMPLATE / "page.css").read_text(encoding="utf-8"),
    }
    allowed_url = escape(function_url) or "'self'"
    values = {
        "policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data: blob:; "
        f"connect-src {allowed_url}; base-uri 'none'; form-action 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'",
        "icon": (TEMPLATE / "icon.html").read_text(encoding="utf-8"),
        "function": escape(function_url),
        "script": f"page.js?{fingerprint(files['page.js'])}",
        "style": f"page.css?{fingerprint(files['page.css'])}",
    }
    template = (MODULES / "static.html").read_text(encoding="utf-8")
    page = re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), template)
    return {"index.html": page} | files


def fingerprint(text: str) -> str:
    """Return a short hash, by which a changed file gets another URL and leaves every cache."""
    return sha256(text.encode()).hexdigest()[:12]


def write_page(folder: Path, function_url: str = "") -> None:
    """Write the files of the page into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in render_page(function_url).items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    write_page(Path(sys.argv[1]), "".join(sys.argv[2:3]).rstrip("/"))
