"""Put the page together: the picker, the card with photo and answer, what the model knows."""

from base64 import b64encode
from pathlib import Path
from threading import Thread

import client
from ipywidgets import HTML, Box, FileUpload
from jinja2 import Environment, FileSystemLoader

_files = Environment(loader=FileSystemLoader(Path(__file__).parent / "html"), autoescape=True)


def render(name: str, **facts) -> str:
    """Return the HTML file `name` filled with `facts`, each of them escaped."""
    return _files.get_template(f"{name}.html").render(facts)


class Page:
    """Hold the widgets of one visit, and answer each photo that is picked."""

    def __init__(self):
        # The view writes "description (number of files)" on its button; the style sheet hides
        # that and shows the tooltip instead.
        self.picker = FileUpload(accept="image/*", icon="", description="", tooltip="Pick a photo")
        self.picker.add_class("picker")
        self.picker.observe(self.answer_photo, "value")
        self.hint = HTML(render("hint"))
        self.photo = HTML(render("photo"))
        self.heat = HTML()
        self.answer = HTML(render("welcome"))
        shown = Box([self.photo, self.heat]).add_class("shown")
        self.card = Box([shown, self.answer]).add_class("card")
        self.about = HTML(render("about"))
        self.model = None
        Thread(target=self.describe_model, daemon=True).start()  # a cold function takes seconds

    def describe_model(self):
        """Show what the model knows, or why that is not known yet."""
        try:
            self.model = client.model()
        except client.NoAnswer as problem:
            self.about.value = render("about", problem=problem)
        else:
            self.hint.value = render("hint", model=self.model)
            self.about.value = render("about", model=self.model)

    def answer_photo(self, change):
        """Show the photo that was picked, then that work is going on, then the answer."""
        if not change.new:
            return
        photo = bytes(change.new[0]["content"])
        self.picker.value = ()  # lets go of the bytes, and the same photo can be picked again
        self.picker.disabled = True
        self.photo.value = render("photo", data=b64encode(photo).decode())
        self.heat.value = ""
        self.answer.value = render("busy")
        try:
            answer = client.classify(photo)
            self.answer.value = render("answer", **answer)
            if answer.get("heatmap"):
                self.heat.value = render("heat", **answer)
        except client.NoAnswer as problem:
            self.answer.value = render("problem", problem=problem)
        except Exception:  # an answer that our pages don't foresee must not lock the picker
            self.answer.value = render("problem", problem=client.UNREADABLE)
        self.picker.tooltip = "Pick another photo"
        self.picker.disabled = False
        if not self.model:
            self.describe_model()
