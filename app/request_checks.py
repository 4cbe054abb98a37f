"""What every route has in common: which requests it accepts, its headers, and its errors."""

import json
import logging
import re
from http import HTTPStatus
from typing import Any

from jupyter_server.auth.identity import User
from jupyter_server.base.handlers import APIHandler
from request_origin import is_known_host, is_same_origin
from response_headers import COMMON, DATA_POLICY, plain_policy
from tornado.web import HTTPError, RequestHandler

FILE_PATH = r"[\w@-][\w.@-]*(/[\w@-][\w.@-]*){0,9}"  # no "..", no hidden file, nothing encoded
MAX_PATH = 250  # characters
VISITOR = User("visitor")  # no visitor logs in, and no cookie is set
log = logging.getLogger("fieldmark.access")


class CheckedHandler(RequestHandler):
    """Handler that checks methods, host, origin and path before the handler it is mixed into.

    Replaces Jupyter's `prepare`, which sets a cookie for each visitor, and its error pages, which
    fail for requests that were rejected before.
    """

    SUPPORTED_METHODS = ("GET", "HEAD")
    for_pages = False  # only this server's own pages may send requests here
    path_pattern = ".*"  # of the route's argument
    _track_activity = False  # of Jupyter's API handlers, which would read the query

    def set_default_headers(self) -> None:
        """Set the headers that all responses have."""
        self.clear_header("Server")
        for name, value in COMMON.items():
            self.set_header(name, value)
        self.set_header("Content-Security-Policy", DATA_POLICY)

    async def prepare(self) -> None:  # type: ignore[override]
        """Reject requests for another host, of another origin, and for impossible paths."""
        self.current_user = self._jupyter_current_user = VISITOR
        host = self.request.headers.get("Host", "")
        if not is_known_host(host, self.settings["hosts"], self.settings["proxies"]):
            raise HTTPError(HTTPStatus.MISDIRECTED_REQUEST)
        if self.for_pages and not is_same_origin(self.request):
            raise HTTPError(HTTPStatus.FORBIDDEN)
        path = "".join(argument or "" for argument in self.path_args)
        if len(path) > MAX_PATH or not re.fullmatch(self.path_pattern, path, re.ASCII):
            raise HTTPError(HTTPStatus.NOT_FOUND)

    def render_plain(self, name: str, **values: Any) -> str:
        """Return a page without a kernel, and set its policy."""
        template = self.settings["voila_jinja2_env"].get_template(name)
        page = template.render(base_url=self.settings["base_url"], **values)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Security-Policy", plain_policy(page))
        self.set_header("Cache-Control", "no-store")
        return page

    def write_error(self, status_code: int, **_: Any) -> None:
        """Write a page, or JSON from the API; neither repeats anything of the request."""
        if status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            self.set_header("Allow", ", ".join(self.SUPPORTED_METHODS))
        if isinstance(self, APIHandler):
            self.finish(json.dumps({"message": HTTPStatus(status_code).phrase}))
        else:
            self.finish(self.render_plain("error.html", status_code=status_code))


class NotFoundHandler(CheckedHandler):
    """Every address that no route has."""

    async def prepare(self) -> None:  # type: ignore[override]
        """Reject the request."""
        raise HTTPError(HTTPStatus.NOT_FOUND)


def log_request(handler: RequestHandler) -> None:
    """Log a request that failed; successful ones would be dozens for each visit."""
    status, request = handler.get_status(), handler.request
    if status < HTTPStatus.BAD_REQUEST:
        return
    level = logging.ERROR if status >= HTTPStatus.INTERNAL_SERVER_ERROR else logging.INFO
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        level = logging.INFO  # all places are taken
    fields = {"method": request.method, "path": request.path[:200], "status": status}
    fields["milliseconds"] = round(1000 * request.request_time(), 1)
    log.log(level, "request", extra=fields)
