"""Where the page looks for the bird: the whole photo, the square, and several birds."""

from urllib.parse import parse_qs, urlsplit

import pytest

from app import bundle
from birds import drawn
from tests.app.visits import (
    BOTH,
    DESKTOP,
    PHONE,
    assert_accessible,
    crop,
    drag,
    drawn_birds,
    last_photo,
    mean_difference,
    photo_of,
)
from tests.browser import run_function, wait_until
from tests.conftest import ROOT
from tests.fake_function import OTHER, RESULT
from tests.finders import TWO_BIRDS, draw_scene

pytestmark = pytest.mark.browser

WIDTH, HEIGHT = 1760, 1320  # larger than what the page sends
SMALL = (0.8, 0.3, 0.25)
FLOCK = [SMALL, (0.3, 0.6, 0.3), (0.55, 0.85, 0.05)]


def queries(function) -> list[dict[str, list[str]]]:
    """Return the parameters sent with each photo."""
    return [parse_qs(urlsplit(path).query) for path, _, body in function.requests if body]


def place_on_photo(visitor, selector: str, width: int = WIDTH) -> tuple[float, float, float]:
    """Return the centre of an element, and its width, in pixels of a photo of some `width`."""
    photo = photo_of(visitor.page).bounding_box()
    box = visitor.page.locator(selector).bounding_box()
    scale = width / photo["width"]
    x, y = (box[start] + box[extent] / 2 for start, extent in (("x", "width"), ("y", "height")))
    return (x - photo["x"]) * scale, (y - photo["y"]) * scale, box["width"] * scale


def place_of(bird: tuple[float, float, float]):
    """Return what `place_on_photo` returns for a bird's square, within a pixel on the screen."""
    x, y, side = bird
    return pytest.approx((x * WIDTH, y * HEIGHT, side * HEIGHT), abs=8)


@BOTH
def test_the_whole_photo_is_sent_and_square_and_heat_map_start_at_the_bird(
    visit, page_url, function, viewport
):
    function.birds, photo = [SMALL], drawn_birds(WIDTH, HEIGHT, [SMALL])
    visitor = visit(page_url, viewport=viewport)
    visitor.pick("bird.jpg", photo)
    visitor.wait_for_result()
    assert last_photo(function).size == (1600, 1200)
    assert mean_difference(last_photo(function), crop(photo, (0, 0, WIDTH, HEIGHT))) < 6
    assert queries(function)[0] | {"crop": ["auto"], "birds": ["all"]} == queries(function)[0]
    assert place_on_photo(visitor, ".box") == place_of(SMALL)
    assert place_on_photo(visitor, ".heatmap") == place_of(SMALL)
    assert not visitor.page.locator(".found, .note").count()
    visitor.save_screenshot(f"{viewport['width']}-small-bird")


def test_a_moved_square_is_sent_alone(visit, page_url, function):
    function.birds, photo = [SMALL], drawn_birds(WIDTH, HEIGHT, [SMALL])
    visitor = visit(page_url, viewport=DESKTOP)
    visitor.pick("bird.jpg", photo)
    visitor.wait_for_result()
    box = visitor.page.locator(".box").bounding_box()
    drag(visitor, box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, -900, 0)
    wait_until(lambda: len(function.photos) == 2)
    assert queries(function)[1]["crop"] == ["center"]
    assert "birds" not in queries(function)[1]
    side = round(0.25 * HEIGHT)
    top = round(0.3 * HEIGHT - side / 2)
    assert last_photo(function).size == (side, side)
    assert mean_difference(last_photo(function), crop(photo, (0, top, side, top + side))) < 6
    visitor.wait_for_result()
    assert place_on_photo(visitor, ".heatmap") == place_of((side / 2 / WIDTH, *SMALL[1:]))


@BOTH
def test_each_of_several_birds_can_be_selected(visit, page_url, function, viewport):
    function.birds = FLOCK
    touch = {"has_touch": viewport is PHONE}
    visitor = visit(page_url, viewport=viewport, **touch)
    page = visitor.page
    visitor.pick("birds.jpg", drawn_birds(WIDTH, HEIGHT, FLOCK))
    page.get_by_text("3 birds found; this is bird 1.").wait_for()
    buttons = page.locator(".photo-frame").get_by_role("button")
    for button in buttons.all():
        assert min(button.bounding_box()[extent] for extent in ("width", "height")) >= 44
    assert_accessible(visitor)
    visitor.save_screenshot(f"{viewport['width']}-several-birds")
    function.gate.clear()  # the prediction needs no further request, the heat map does
    second = page.get_by_role("button", name="Bird 2: Ash Bird")
    second.tap() if viewport is PHONE else second.click()
    page.get_by_role("heading", name=OTHER["answer"]["text"]).wait_for()
    assert page.locator(".found[aria-pressed=true]").inner_text() == "2"
    assert place_on_photo(visitor, ".box") == place_of(FLOCK[1])
    assert not page.locator(".heatmap").count()
    function.gate.set()
    page.locator(".heatmap").wait_for()
    assert place_on_photo(visitor, ".heatmap") == place_of(FLOCK[1])
    assert function.photos[0] == function.photos[1]  # so that the square is the same, to the pixel
    assert queries(function)[1]["crop"] == ["300,540,360,360"]
    page.get_by_role("button", name="Bird 1").press("Enter")
    page.get_by_role("heading", name=RESULT["answer"]["text"]).wait_for()
    assert place_on_photo(visitor, ".heatmap") == place_of(SMALL)
    assert len(function.photos) == 2
    box = page.locator(".box").bounding_box()
    drag(visitor, box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, -20, 0)
    wait_until(lambda: len(function.photos) == 3)
    assert queries(function)[2]["crop"] == ["center"]
    visitor.wait_for_result()
    assert not page.locator(".found[aria-pressed=true], .note").count()
    assert not visitor.errors


def test_a_bird_below_the_square_is_selected_by_a_tap(visit, page_url, function):
    function.birds = [(0.5, 0.5, 0.8), (0.45, 0.6, 0.2)]
    visitor = visit(page_url)
    visitor.pick("birds.jpg", drawn_birds(WIDTH, HEIGHT, function.birds))
    visitor.page.get_by_text("2 birds found").wait_for()
    other = visitor.page.get_by_role("button", name="Bird 2").bounding_box()
    visitor.page.mouse.click(other["x"] + other["width"] / 2, other["y"] + other["height"] * 0.8)
    visitor.page.get_by_text("this is bird 2").wait_for()


@BOTH
def test_a_photo_without_a_bird_is_called_so(visit, page_url, function, viewport):
    function.birds = []
    visitor = visit(page_url, viewport=viewport)
    visitor.pick("sky.jpg", drawn_birds(WIDTH, HEIGHT, []))
    note = visitor.page.get_by_text("No bird found; I looked at the middle.")
    note.wait_for()
    assert place_on_photo(visitor, ".box") == place_of((0.5, 0.5, 1))
    assert_accessible(visitor)
    visitor.save_screenshot(f"{viewport['width']}-no-bird")
    visitor.page.locator(".box").press("-")
    note.wait_for(state="detached")


def test_an_older_function_gets_the_photo_and_takes_the_middle(visit, page_url, function):
    function.birds = None
    visitor = visit(page_url)
    visitor.pick("bird.jpg", drawn_birds(WIDTH, HEIGHT, [SMALL]))
    visitor.wait_for_result()
    assert place_on_photo(visitor, ".box") == place_of((0.5, 0.5, 1))
    assert not visitor.page.locator(".note, .problem").count()
    visitor.page.locator(".box").press("ArrowRight")
    wait_until(lambda: last_photo(function).size == (1024, 1024))
    visitor.wait_for_result()
    assert "crop" not in queries(function)[-1]


def test_the_real_function_finds_birds_in_a_photo_that_the_page_shrank(visit, logs, finder_file):
    bundle.write_page(ROOT / "azure_function/birds/page")
    photo = drawn.encode_photo(draw_scene(TWO_BIRDS).repeat(4, 0).repeat(4, 1), quality=95)
    settings = {"FIELDMARK_PAGE": "1", "FIELDMARK_FINDER": str(finder_file)}
    with run_function(logs / "finding-function.txt", **settings) as function:
        visitor = visit(function.url)
        visitor.pick("birds.jpg", photo)
        visitor.wait_for_result()
        frame = visitor.page.locator(".photo-frame")
        found = set()
        for button in frame.get_by_role("button").all():
            button.press("Enter")
            frame.locator(".heatmap").wait_for()
            x, y, side = (place / 4 for place in place_on_photo(visitor, ".heatmap", 2880))
            for name, left, top, size in TWO_BIRDS:
                distance = max(abs(x - left - size / 2), abs(y - top - size / 2))
                if distance < size / 4 and size / 2 < side < 2 * size:
                    found.add(name)
        assert found == {name for name, *_ in TWO_BIRDS}
        assert not visitor.errors
        assert not visitor.console
        visitor.leave()
