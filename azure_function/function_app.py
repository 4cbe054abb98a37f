"""Hand the API to Azure Functions: the key's level for each route, and nothing else."""

import azure.functions as func

from birds.api import app as api

app = func.FunctionApp()
bridge = func.AsgiMiddleware(api)


async def answer(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Let the API answer a request that Azure let through."""
    return await bridge.handle_async(req, context)


def route(name: str, path: str, method: str, level: func.AuthLevel) -> None:
    """Open one route of the API."""
    app.function_name(name)(app.route(path, methods=[method], auth_level=level)(answer))


route("classify", "classify", "POST", func.AuthLevel.FUNCTION)
route("preflight", "classify", "OPTIONS", func.AuthLevel.ANONYMOUS)  # browsers send no key with it
route("health", "health", "GET", func.AuthLevel.ANONYMOUS)
route("alive", "health/alive", "GET", func.AuthLevel.ANONYMOUS)
route("model", "model", "GET", func.AuthLevel.ANONYMOUS)
route("docs", "docs", "GET", func.AuthLevel.ANONYMOUS)
route("parts_of_docs", "docs/{name}", "GET", func.AuthLevel.ANONYMOUS)
route("openapi", "openapi.json", "GET", func.AuthLevel.ANONYMOUS)
