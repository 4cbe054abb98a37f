"""The page as a widget: JavaScript in the browser that reaches the function through the kernel."""

from concurrent.futures import ThreadPoolExecutor

import anywidget
import bundle
import client

CONCURRENT_REQUESTS = 4  # to the function, of one visitor
MAX_PENDING = 8  # running and queued; the page sends two at a time, and photos take memory
MAX_PENDING_BYTES = 24 * 2**20  # one photo of the largest size, or several usual ones
TOO_MANY = "Too many photos at once. Please wait for the others to finish, and try again."


class PageWidget(anywidget.AnyWidget):
    """Forward the browser's requests to the function: classify a photo, describe the model."""

    _esm = bundle.bundle_modules("widget.js")

    def __init__(self):
        super().__init__()
        self.executor = ThreadPoolExecutor(CONCURRENT_REQUESTS)
        self.pending: dict[object, int] = {}  # bytes of each request that has no response yet
        self.on_msg(self.handle_message)

    def handle_message(self, _, content, buffers):
        """Queue a request from the browser, or reject it if too many are pending."""
        number = content.get("id")
        if type(number) is not int or not 0 <= number < 2**31:
            return  # no page sends it, and the response would repeat it
        request, size = object(), sum(map(len, buffers))
        sizes = [*self.pending.values(), size]
        if len(sizes) > MAX_PENDING or sum(sizes) > MAX_PENDING_BYTES:
            self.send({"id": number, "error": TOO_MANY})
            return
        self.pending[request] = size
        future = self.executor.submit(self.respond, number, content.get("request"), buffers)
        future.add_done_callback(lambda _: self.pending.pop(request))

    def respond(self, number: int, request: str, buffers):
        """Send the result of one request, or a sentence that explains why there is none."""
        response: dict = {"id": number}
        try:
            if request == "classify":
                response["result"] = client.classify(bytes(buffers[0]))
            else:
                response["result"] = client.describe_model()
        except client.FunctionError as error:
            response["error"] = str(error)
        except Exception:  # the browser must always get a response
            response["error"] = client.MESSAGES["unreadable"]
        self.send(response)
