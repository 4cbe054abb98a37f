"""The page as a widget: JavaScript in the browser, which asks the function through the kernel."""

from concurrent.futures import ThreadPoolExecutor
from threading import Semaphore

import anywidget
import bundle
import client

AT_ONCE = 4  # requests of one visitor to the function
MOST = 8  # with those that wait; the page sends two, and photos take memory
TOO_MANY = "Too many photos at once. Please wait for the others, and try again."


class Page(anywidget.AnyWidget):
    """Answer what the browser asks: who is in a photo, and what the model knows."""

    _esm = bundle.script("widget.js")

    def __init__(self):
        super().__init__()
        self.pool = ThreadPoolExecutor(AT_ONCE)
        self.room = Semaphore(MOST)
        self.on_msg(self.take)

    def take(self, _, content, buffers):
        """Let a message be answered when its turn comes, unless too many are there already."""
        if self.room.acquire(blocking=False):
            done = self.pool.submit(self.reply, content, buffers)
            done.add_done_callback(lambda _: self.room.release())
        else:
            self.send({"id": content.get("id"), "problem": TOO_MANY})

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
