"""Serve the HTML pages and their files: Swagger UI, and the page for visitors."""

from functools import cache
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Response
from starlette.exceptions import HTTPException

from .security_headers import DOCS_POLICY, PAGE_POLICY, POLICY
from .settings import PAGE_FOLDER

DOCS = Path(__file__).parent / "docs"
SWAGGER_FILES = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")
MEDIA_TYPES = {  # not `mimetypes`, which depends on the system
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".png": "image/png",
}
page_routes = APIRouter(include_in_schema=False)
docs_routes = APIRouter(prefix="/api", include_in_schema=False)


@cache
def read_file(path: Path) -> bytes:
    """Return the bytes of a file, which stay in memory from then on: at most 2 MB of them all."""
    return path.read_bytes()


def file_response(path: Path, **headers: str) -> Response:
    """Return a response with a file, without ranges: one that is cut has no use here."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(read_file(path), headers=headers, media_type=MEDIA_TYPES[path.suffix])


def page_response(path: Path, policy: str) -> Response:
    """Return a response with an HTML page, which a browser asks for each time."""
    return file_response(path, cache_control="no-cache", **{POLICY: policy})


@page_routes.get("/")
async def page() -> Response:
    """Return the page that calls this function from the browser."""
    return page_response(PAGE_FOLDER / "index.html", PAGE_POLICY)


@page_routes.get("/page.js")
async def page_script() -> Response:
    """Return the page's script; its URL in the page changes with its content."""
    return file_response(PAGE_FOLDER / "page.js", cache_control="max-age=86400")


@page_routes.get("/page.css")
async def page_style() -> Response:
    """Return the page's style sheet; its URL in the page changes with its content."""
    return file_response(PAGE_FOLDER / "page.css", cache_control="max-age=86400")


@docs_routes.get("/docs")
async def swagger_ui() -> Response:
    """Return the API's documentation; its URLs are relative, so it works behind any proxy."""
    return page_response(DOCS / "index.html", DOCS_POLICY)


@docs_routes.get("/docs/{name}")
async def docs_file(name: str) -> Response:
    """Return one of the files that the documentation loads."""
    if name == "start.js":
        return file_response(DOCS / name, cache_control="no-cache")
    if name not in SWAGGER_FILES:
        raise HTTPException(404, "Not Found")
    path = Path(str(files("fastapi_swagger.resources") / name))
    return file_response(path, cache_control="max-age=86400")
