"""Register the API's routes with Azure Functions, each with its key level."""

import re
from urllib.parse import quote, unquote

import azure.functions as func

from birds.api import app as api
from birds.api import settings

ORIGIN = re.compile(r"\A[^:/?#]+://[^/?#]*")
app = func.FunctionApp()
middleware = func.AsgiMiddleware(api)


async def handle(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Pass a request from Azure to the API; Azure requires these parameter names."""
    return await middleware.handle_async(without_faults(req), context)


def without_faults(request: func.HttpRequest) -> func.HttpRequest:
    """Return a request with a URL and headers on which AsgiMiddleware raises no error.

    It raises for a path that is no UTF-8, and for a host or port that is none. The API uses neither
    host nor port; in the path, bytes that are no UTF-8 are replaced, as servers do.
    """
    path, mark, query = ORIGIN.sub("", request.url, count=1).partition("?")
    url = f"https://function{quote(unquote(path, errors='replace'))}{mark}{query}"
    headers = {k: v for k, v in request.headers.items() if k.lower() != "x-forwarded-port"}
    return func.HttpRequest(request.method, url, headers=headers, body=request.get_body())


def register(name: str, path: str, method: str, level: func.AuthLevel) -> None:
    """Register one route of the API."""
    app.function_name(name)(app.route(path, methods=[method], auth_level=level)(handle))


OPEN, KEY = func.AuthLevel.ANONYMOUS, func.AuthLevel.FUNCTION
register("classify", "api/classify", "POST", OPEN if settings.page else KEY)
register("preflight", "api/classify", "OPTIONS", OPEN)  # browsers send it without a key
register("health", "api/health", "GET", OPEN)
register("alive", "api/health/alive", "GET", OPEN)
register("model", "api/model", "GET", OPEN)
register("docs", "api/docs", "GET", OPEN)
register("docs_files", "api/docs/{name}", "GET", OPEN)
register("openapi", "api/openapi.json", "GET", OPEN)
if settings.page:
    register("page", "{*path}", "GET", OPEN)  # a route cannot be named / alone
