"""Serve the HTML pages: Swagger UI with files of a package, and the page for visitors."""

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse
from starlette.exceptions import HTTPException

from .settings import PAGE_FILE

SWAGGER_FILES = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")
page_routes = APIRouter(include_in_schema=False)
docs_routes = APIRouter(prefix="/api", include_in_schema=False)


@page_routes.get("/")
async def page() -> FileResponse:
    """Return the page that calls this function from the browser."""
    return FileResponse(PAGE_FILE)


@docs_routes.get("/docs")
async def swagger_ui() -> HTMLResponse:
    """Return the API's documentation; its URLs are relative, so it works behind any proxy."""
    return get_swagger_ui_html(
        openapi_url="openapi.json",
        title="Fieldmark",
        swagger_js_url="docs/swagger-ui-bundle.js",
        swagger_css_url="docs/swagger-ui.css",
        swagger_favicon_url="docs/favicon-32x32.png",
    )


@docs_routes.get("/docs/{name}")
async def swagger_file(name: str) -> FileResponse:
    """Return one of the files that the documentation loads."""
    if name not in SWAGGER_FILES:
        raise HTTPException(404, "Not Found")
    path = Path(str(files("fastapi_swagger.resources") / name))
    return FileResponse(path, headers={"cache-control": "max-age=86400"})
