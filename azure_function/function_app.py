"""Hand the API to Azure Functions: the key's level for each route, and nothing else."""

import azure.functions as func

from birds.api import app as api
from birds.api import chosen

app = func.FunctionApp()
bridge = func.AsgiMiddleware(api)


async def answer(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Let the API answer a request that Azure let through."""
    return await bridge.handle_async(req, context)


def route(name: str, path: str, method: str, level: func.AuthLevel) -> None:
    """Open one route of the API."""
    app.function_name(name)(app.route(path, methods=[method], auth_level=level)(answer))


OPEN, KEY = func.AuthLevel.ANONYMOUS, func.AuthLevel.FUNCTION
route("classify", "api/classify", "POST", OPEN if chosen.page else KEY)
route("preflight", "api/classify", "OPTIONS", OPEN)  # browsers send no key with it
route("health", "api/health", "GET", OPEN)
route("alive", "api/health/alive", "GET", OPEN)
route("model", "api/model", "GET", OPEN)
route("docs", "api/docs", "GET", OPEN)
route("parts_of_docs", "api/docs/{name}", "GET", OPEN)
route("openapi", "api/openapi.json", "GET", OPEN)
if chosen.page:
    route("page", "{*path}", "GET", OPEN)  # / has no name of its own in a route
