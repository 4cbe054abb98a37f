"""Run Voila for strangers: the page for as many as there are places, and none of Voila's rest."""

from http import HTTPStatus

from tornado.ioloop import IOLoop
from tornado.web import HTTPError, authenticated
from visitors import NoPlace
from voila.app import Voila
from voila.tornado.handler import TornadoVoilaHandler

NEEDED = ("/api/kernels/", "/voila/static/", "/voila/templates/", "/voila/labextensions/")
NEEDED += ("/voila/api/themes/", "/voila/api/shutdown/")
AGAIN = 10  # seconds after which a page that found no place asks again


class Page(TornadoVoilaHandler):
    """Answer with the page of a kernel that is ready, or with the one that asks to wait."""

    @authenticated
    async def get(self, path: str = "") -> None:
        """Send a visitor their own page, whatever the query; 503 where there is no place."""
        self.head(path)
        try:
            page = await self.kernel_manager.welcome()
        except NoPlace:
            self.set_status(HTTPStatus.SERVICE_UNAVAILABLE)
            self.set_header("Retry-After", AGAIN)
            page = self.render_template("busy.html", seconds=AGAIN)
        self.write(page)

    @authenticated
    def head(self, path: str = "") -> None:
        """Say that the page is there; that takes no kernel."""
        if path:
            raise HTTPError(HTTPStatus.NOT_FOUND)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")


class Front(Voila):
    """Serve one notebook, without files, log-in, and whatever else the page does without."""

    def init_handlers(self) -> list:
        """Return the routes that the page needs, and the page's own."""
        *routes, (pattern, _, settings) = super().init_handlers()
        return [
            *(route for route in routes if route[0].startswith(NEEDED)),
            (pattern, Page, settings),
        ]

    def listen(self) -> None:
        """Start the first kernels, and serve."""
        IOLoop.current().add_callback(self.kernel_manager.look_after)
        super().listen()


if __name__ == "__main__":
    Front.launch_instance()
