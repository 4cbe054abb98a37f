"""Serve the page with Voila to a bounded number of visitors, without Voila's other routes."""

from http import HTTPStatus
from typing import cast

from kernel_pool import KernelPool, NoCapacity
from tornado.ioloop import IOLoop, PeriodicCallback
from tornado.web import HTTPError, authenticated
from voila.app import Voila
from voila.tornado.handler import TornadoVoilaHandler

ALLOWED_ROUTES = (
    "/api/kernels/",
    "/voila/static/",
    "/voila/templates/",
    "/voila/labextensions/",
    "/voila/api/themes/",
    "/voila/api/shutdown/",
)
RETRY_SECONDS = 10  # after which a page without capacity reloads


class PageHandler(TornadoVoilaHandler):
    """Send the page of a kernel that is ready, or a page that asks the visitor to wait."""

    @authenticated
    async def get(self, path: str = "") -> None:
        """Send a page with a kernel of its own, whatever the query; 503 without capacity."""
        self.head(path)
        try:
            page = await cast(KernelPool, self.kernel_manager).assign_kernel()
        except NoCapacity:
            self.set_status(HTTPStatus.SERVICE_UNAVAILABLE)
            self.set_header("Retry-After", RETRY_SECONDS)
            page = self.render_template("busy.html", seconds=RETRY_SECONDS)
        self.write(page)

    @authenticated
    def head(self, path: str = "") -> None:
        """Send the page's headers without assigning a kernel; 404 for any other path."""
        if path:
            raise HTTPError(HTTPStatus.NOT_FOUND)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")


class PageServer(Voila):
    """Voila for one notebook, without file access, log-in and other unused routes."""

    def init_handlers(self) -> list:
        """Keep the allowed routes and serve the notebook with `PageHandler`."""
        *routes, (pattern, _, settings) = cast(list, super().init_handlers())
        allowed = [route for route in routes if route[0].startswith(ALLOWED_ROUTES)]
        return [*allowed, (pattern, PageHandler, settings)]

    def listen(self) -> None:
        """Start the first kernels and serve; check the kernels at regular intervals."""
        pool = cast(KernelPool, self.kernel_manager)
        IOLoop.current().add_callback(pool.check_kernels)
        PeriodicCallback(pool.check_kernels, 1000 * pool.check_interval).start()
        super().listen()


if __name__ == "__main__":
    PageServer.launch_instance()
