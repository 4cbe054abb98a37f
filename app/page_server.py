"""Serve the page with Voila to a bounded number of visitors, without Voila's other routes."""

import gc
import logging
import sys
from http import HTTPStatus
from typing import cast

from http_server import BoundedServer
from json_log import configure_logging
from kernel_pool import KernelPool, NoCapacity
from kernel_socket import KernelSocketHandler
from memory import TRIM_INTERVAL, limit_kernels_memory, trim_memory
from request_checks import FILE_PATH, CheckedHandler, NotFoundHandler, log_request
from request_origin import client_network
from response_headers import page_policy
from settings import SettingError, read_hosts, read_proxies
from tornado.ioloop import IOLoop, PeriodicCallback
from tornado.web import HTTPError
from traitlets import default
from voila.app import Voila
from voila.tornado.handler import TornadoVoilaHandler

FILES = {"path_pattern": FILE_PATH}
ALLOWED_ROUTES = {  # the routes of Voila that a page uses, and what is checked of a request
    "/voila/static/": FILES,
    "/voila/templates/": {"path_pattern": rf"[\w-]+/static/{FILE_PATH}"},
    "/voila/labextensions/": FILES,
    "/voila/api/shutdown/": {"for_pages": True, "SUPPORTED_METHODS": ("POST",)},
    "/api/kernels/": {"for_pages": True, "SUPPORTED_METHODS": ("GET",)},
}
RETRY_SECONDS = 10  # after which a page without capacity reloads


class PageHandler(CheckedHandler, TornadoVoilaHandler):
    """Send the page of a kernel that is ready, or the page for a visitor without a place."""

    async def get(self, path: str = "") -> None:
        """Send a page with a kernel of its own, whatever the query; 503 without capacity."""
        self.head(path)
        network = client_network(self.request, self.settings["proxies"])
        try:
            page = await cast(KernelPool, self.kernel_manager).assign_kernel(network)
            self.set_header("Content-Security-Policy", page_policy(page))
        except NoCapacity as reason:
            self.set_status(HTTPStatus.SERVICE_UNAVAILABLE)
            self.set_header("Retry-After", RETRY_SECONDS)
            page = self.render_plain("busy.html", seconds=RETRY_SECONDS, reason=reason)
        self.write(page)

    def head(self, path: str = "") -> None:
        """Send the page's headers without assigning a kernel; 404 for any other path."""
        if path:
            raise HTTPError(HTTPStatus.NOT_FOUND)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")


class PageServer(Voila):
    """Voila for one notebook, without file access, log-in and other unused routes."""

    @default("log")
    def _log_default(self) -> logging.Logger:
        """Leave the log as `configure_logging` has set it up."""
        return logging.getLogger("fieldmark.page")

    def init_settings(self) -> dict:
        """Add what the handlers check requests with."""
        checks = {
            "hosts": read_hosts(),
            "proxies": read_proxies(),
            "default_handler_class": NotFoundHandler,
            "log_function": log_request,
        }
        return cast(dict, super().init_settings()) | checks

    def init_handlers(self) -> list:
        """Keep the allowed routes, with checks, and serve the notebook with `PageHandler`."""
        *routes, (page, _, settings) = cast(list, super().init_handlers())
        return [*filter(None, map(check_route, routes)), (page, PageHandler, settings)]

    def listen(self) -> None:
        """Start the first kernels and serve; check the kernels at regular intervals."""
        pool, proxies = cast(KernelPool, self.kernel_manager), read_proxies()
        IOLoop.current().add_callback(pool.check_kernels)
        PeriodicCallback(pool.check_kernels, 1000 * pool.check_interval).start()
        gc.freeze()
        PeriodicCallback(trim_memory, 1000 * TRIM_INTERVAL).start()
        server = BoundedServer(self.app, proxies=proxies)
        self.app.listen = server.listen  # which Voila calls
        super().listen()


def check_route(route: tuple) -> tuple | None:
    """Return a route of Voila whose requests are checked; None if the page does not use it."""
    pattern, handler, *settings = route
    if pattern.endswith("/channels"):
        return (pattern, KernelSocketHandler, *settings)
    for prefix, checks in ALLOWED_ROUTES.items():
        if pattern.startswith(prefix):
            return (pattern, type(handler.__name__, (CheckedHandler, handler), checks), *settings)
    return None


def main() -> None:
    """Serve the page until the process is terminated; a wrong setting is logged."""
    configure_logging()
    limit_kernels_memory()
    try:
        PageServer.launch_instance()
    except SettingError as error:
        logging.critical(error)
        sys.exit(1)


if __name__ == "__main__":
    main()
