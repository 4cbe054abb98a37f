"""The page as a widget: JavaScript in the browser, which asks the function through the kernel."""

from concurrent.futures import ThreadPoolExecutor

import anywidget
import bundle
import client

AT_ONCE = 4  # requests of one visitor to the function


class Page(anywidget.AnyWidget):
    """Answer what the browser asks: who is in a photo, and what the model knows."""

    _esm = bundle.script("widget.js")

    def __init__(self):
        super().__init__()
        self.pool = ThreadPoolExecutor(AT_ONCE)
        self.on_msg(lambda _, content, buffers: self.pool.submit(self.reply, content, buffers))

    def reply(self, content, buffers):
        """Send the answer to one message, or the sentence that says why there is none."""
        told = {"id": content.get("id")}
        try:
            if content.get("ask") == "classify":
                told["answer"] = client.classify(bytes(buffers[0]))
            else:
                told["answer"] = client.model()
        except client.NoAnswer as problem:
            told["problem"] = str(problem)
        except Exception:  # what nobody foresaw must not leave a visitor waiting
            told["problem"] = client.UNREADABLE
        self.send(told)
