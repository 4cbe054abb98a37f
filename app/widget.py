"""The page as a widget: JavaScript in the browser that reaches the function through the kernel."""

from concurrent.futures import ThreadPoolExecutor
from threading import Semaphore

import anywidget
import bundle
import client

CONCURRENT_REQUESTS = 4  # to the function, of one visitor
MAX_PENDING = 8  # running and queued; the page sends two at a time, and photos take memory
TOO_MANY = "Too many photos at once. Please wait for the others to finish, and try again."


class PageWidget(anywidget.AnyWidget):
    """Forward the browser's requests to the function: classify a photo, describe the model."""

    _esm = bundle.bundle_modules("widget.js")

    def __init__(self):
        super().__init__()
        self.executor = ThreadPoolExecutor(CONCURRENT_REQUESTS)
        self.pending = Semaphore(MAX_PENDING)
        self.on_msg(self.handle_message)

    def handle_message(self, _, content, buffers):
        """Queue a request from the browser, or reject it if too many are pending."""
        if self.pending.acquire(blocking=False):
            future = self.executor.submit(self.respond, content, buffers)
            future.add_done_callback(lambda _: self.pending.release())
        else:
            self.send({"id": content.get("id"), "error": TOO_MANY})

    def respond(self, content, buffers):
        """Send the result of one request, or a sentence that explains why there is none."""
        response = {"id": content.get("id")}
        try:
            if content.get("request") == "classify":
                response["result"] = client.classify(bytes(buffers[0]))
            else:
                response["result"] = client.describe_model()
        except client.FunctionError as error:
            response["error"] = str(error)
        except Exception:  # the browser must always get a response
            response["error"] = client.MESSAGES["unreadable"]
        self.send(response)
