"""The page as a widget: JavaScript in the browser that reaches the function through the kernel."""

from concurrent.futures import ThreadPoolExecutor

import anywidget
import bundle
import client

CONCURRENT_REQUESTS = 4  # to the function, of one visitor
MAX_PENDING = 8  # running and queued; the page sends two at a time, and photos take memory
MAX_BYTES = 24 * 2**20  # of all photos: one of the largest size, or several usual ones
TOO_MANY = "Too many photos at once. Please wait for the others to finish, and try again."


class PageWidget(anywidget.AnyWidget):
    """Forward the browser's requests to the function: classify a photo, describe the model."""

    _esm = bundle.bundle_modules("widget.js")

    def __init__(self):
        super().__init__()
        self.executor = ThreadPoolExecutor(CONCURRENT_REQUESTS)
        self.arriving: dict[int, bytearray] = {}  # by request: photos of which parts are missing
        self.pending: dict[object, int] = {}  # bytes of each request that has no response yet
        self.on_msg(self.handle_message)

    def handle_message(self, _, content, buffers):
        """Add a part to its photo, or queue a request, or reject it if too many are pending."""
        number, name = content.get("id"), content.get("request")
        if type(number) is not int or not 0 <= number < 2**31:
            return  # no page sends it, and the response would repeat it
        photo = self.arriving.pop(number, bytearray())
        complete = len(photo) == content.get("offset", 0)  # its earlier parts were not discarded
        for part in buffers:
            photo += part
        if name != "part":
            self.queue(number, name, photo, complete, content.get("crop", "auto"))
        elif complete:
            self.arriving[number] = photo
            self.discard_photos(MAX_BYTES)

    def queue(self, number: int, name: str, photo: bytearray, complete: bool, crop: str):
        """Queue a request for the function, or reject it."""
        self.discard_photos(MAX_BYTES - len(photo))
        too_large = sum(self.pending.values()) + len(photo) > MAX_BYTES
        if not complete or too_large or len(self.pending) >= MAX_PENDING:
            self.send({"id": number, "error": TOO_MANY})
            return
        key = object()
        self.pending[key] = len(photo)
        future = self.executor.submit(self.respond, number, name, photo, crop)
        future.add_done_callback(lambda _: self.pending.pop(key))

    def discard_photos(self, limit: int):
        """Discard the oldest incomplete photos until there are few and all have `limit` bytes."""
        sizes = [len(photo) for photo in self.arriving.values()]
        excess = sum(sizes) + sum(self.pending.values()) - limit
        while self.arriving and (excess > 0 or len(self.arriving) > MAX_PENDING):
            excess -= len(self.arriving.pop(next(iter(self.arriving))))

    def respond(self, number: int, name: str, photo: bytearray, crop: str):
        """Send the result of one request, or a sentence that explains why there is none."""
        response: dict = {"id": number}
        try:
            if name == "classify":
                response["result"] = client.classify(photo, crop=crop)
            else:
                response["result"] = client.describe_model()
        except client.FunctionError as error:
            response["error"] = str(error)
        except Exception:  # the browser must always get a response
            response["error"] = client.MESSAGES["unreadable"]
        self.send(response)
