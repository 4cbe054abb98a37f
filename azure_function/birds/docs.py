"""Serve what people see: the API's documentation, by a package's Swagger UI, and the page."""

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

FILES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}

PAGE = Path(__file__).with_name("page.html")  # written by `make page`

page_route = APIRouter(include_in_schema=False)
routes = APIRouter(prefix="/api", include_in_schema=False)


@page_route.get("/")
async def visitors() -> HTMLResponse:
    """Return the page that asks this function without a kernel in between."""
    return HTMLResponse(PAGE.read_text(encoding="utf-8"))


@routes.get("/docs")
async def page() -> HTMLResponse:
    """Return the page; its addresses are relative, so that any host and proxy will do."""
    return get_swagger_ui_html(
        openapi_url="openapi.json",
        title="Fieldmark",
        swagger_js_url="docs/swagger-ui-bundle.js",
        swagger_css_url="docs/swagger-ui.css",
        swagger_favicon_url="docs/favicon-32x32.png",
    )


@routes.get("/docs/{name}")
async def part(name: str) -> Response:
    """Return one of the page's files."""
    if name not in FILES:
        raise HTTPException(404, "Not Found")
    content = files("fastapi_swagger.resources").joinpath(name).read_bytes()
    return Response(content, media_type=FILES[name], headers={"cache-control": "max-age=86400"})
