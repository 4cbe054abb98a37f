"""The page, used as a visitor does, from the photo to the result."""

import csv
import io
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from app import bundle
from birds import drawn
from tests.app.visits import (
    BOTH,
    DESKTOP,
    KEY,
    PHONE,
    assert_accessible,
    crop,
    drag,
    drawn_bird,
    last_photo,
    mean_difference,
    photo_of,
)
from tests.birds.photos import encode_heic
from tests.browser import responds, run_function, run_page, wait_until
from tests.conftest import ROOT
from tests.fake_function import BUSY, MODEL, RESULT, UNKNOWN, response

pytestmark = pytest.mark.browser

SHORTLIST = {
    "kind": "shortlist",
    "labels": ["Reed Bird", "Ash Bird"],
    "text": "A Reed Bird or an Ash Bird.",
    "taxon": None,
}


@pytest.fixture(scope="module")
def static_page_url(browser, logs):
    """Build the page without a kernel, and serve it from the real function."""
    bundle.write_page(ROOT / "azure_function/birds/page")
    with run_function(logs / "function.txt", FIELDMARK_PAGE="1") as function:
        yield function.url + "/"


def test_a_photo_is_identified_by_the_real_function_and_the_key_stays_on_the_server(visit, logs):
    with (
        run_function(logs / "keyed-function.txt", key=KEY) as function,
        run_page(function.url, logs / "keyed-page.txt", key=KEY) as page,
    ):
        visitor = visit(page.url)
        visitor.page.get_by_text("The model knows").wait_for()
        visitor.pick("phone.heic", encode_heic(drawn.draw_bird("Night_Inkling", 0, 300, 300)), "")
        visitor.wait_for_result()
        visitor.pick("bird.jpg", drawn_bird())
        visitor.wait_for_result()
        assert photo_size(visitor.page) == [800, 600]
        assert not visitor.errors
        assert {urlsplit(url).hostname for url in visitor.requested} <= {"127.0.0.1", None}
        assert b"Fieldmark" in visitor.everything_received()
        assert KEY.encode() not in visitor.everything_received()
        visitor.leave()


@BOTH
def test_the_page_without_a_kernel_identifies_a_photo(visit, static_page_url, viewport):
    visitor = visit(static_page_url, viewport=viewport)
    visitor.page.get_by_text("The model knows").wait_for()
    visitor.pick("bird.jpg", drawn_bird())
    visitor.wait_for_result()
    assert visitor.page.locator(".heatmap").is_visible()
    visitor.page.locator("summary").click()
    assert_accessible(visitor)
    visitor.save_screenshot(f"{viewport['width']}-without-kernel")
    assert not visitor.scrolls_sideways()
    assert not visitor.errors
    assert not visitor.console
    paths = {urlsplit(url).path for url in visitor.requested if url.startswith("http")}
    assert paths == {"/", "/page.js", "/page.css", "/api/model", "/api/classify"}


@BOTH
def test_the_documentation_of_the_api_works_under_its_policy(visit, static_page_url, viewport):
    visitor = visit(f"{static_page_url}api/docs", ".opblock", viewport=viewport)
    page = visitor.page
    page.locator(".opblock-get", has_text="/api/health").first.click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    page.locator(".live-responses-table", has_text="ready").wait_for()
    page.locator(".opblock-post").click()
    page.locator(".opblock-post .model-example").first.wait_for()
    visitor.save_screenshot(f"{viewport['width']}-docs")
    assert not visitor.errors
    assert not visitor.console


def test_the_page_without_a_kernel_keeps_a_photo_when_requests_fail(visit, static_page_url):
    visitor = visit(static_page_url)
    visitor.page.get_by_text("The model knows").wait_for()
    routes = []

    def fail_twice(route):
        routes.append(route)
        if len(routes) == 1:
            headers = {"retry-after": "1", "content-type": "application/problem+json"}
            route.fulfill(status=503, headers=headers, json=BUSY)
        elif len(routes) == 2:
            route.abort()
        else:
            route.continue_()

    visitor.page.route("**/api/classify*", fail_twice)
    visitor.pick("bird.jpg", drawn_bird())
    visitor.page.locator(".problem").wait_for()
    assert len(routes) == 2  # it was busy, and was tried again without the visitor
    visitor.page.get_by_role("button", name="Try again").click()
    visitor.wait_for_result()
    assert len(routes) == 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
@BOTH
def test_every_state_of_the_page_is_accessible(visit, page_url, function, viewport, scheme):
    visitor = visit(page_url, viewport=viewport, color_scheme=scheme)
    page, prefix = visitor.page, f"{viewport['width']}-{scheme}"

    def check(state):
        assert_accessible(visitor)
        assert not visitor.scrolls_sideways()
        visitor.save_screenshot(f"{prefix}-{state}")

    assert page.title() == "Fieldmark"
    page.get_by_text("The model knows 2 species").wait_for()
    page.locator("summary").click()
    check("before")
    function.gate.clear()
    visitor.pick("bird.jpg", drawn_bird())
    page.get_by_role("status").or_(page.locator(".busy")).first.wait_for()
    assert photo_of(page).is_visible()
    check("busy")
    function.gate.set()
    visitor.wait_for_result()
    page.get_by_role("button", name="Pick another photo").wait_for()
    check("species")
    function.respond_with(RESULT | {"answer": SHORTLIST})
    visitor.pick("bird.jpg", drawn_bird(500, 800))
    page.get_by_role("heading", name=SHORTLIST["text"]).wait_for()
    link = page.get_by_role("link", name="Read about")
    assert link.get_attribute("href") == "https://en.wikipedia.org/wiki/Avis_arundinis"
    check("shortlist")
    function.respond_with(UNKNOWN)
    visitor.pick("bird.jpg", drawn_bird())
    page.get_by_role("heading", name=UNKNOWN["answer"]["text"]).wait_for()
    assert page.locator(".similar li").first.inner_text().startswith("Reed <b>Bird</b>")
    assert "%" not in page.locator(".card").inner_text()
    assert not page.locator(".bar").count()
    check("unknown")
    function.first_responses = [response(RESULT)]
    visitor.pick_several({"one.jpg": drawn_bird(), "two.jpg": b"", "3.jpg": drawn_bird()})
    page.get_by_role("heading", name="3 photos", exact=True).wait_for()
    check("several")
    function.respond_with({"detail": "The model is starting. Try again in 5 seconds."}, 503)
    visitor.pick("bird.jpg", drawn_bird())
    page.get_by_text("The model is starting. Try again in 5 seconds.").wait_for()
    check("error")
    assert not visitor.errors


def photo_size(page) -> list[int]:
    return photo_of(page).evaluate("canvas => [canvas.width, canvas.height]")


@BOTH
def test_a_file_that_is_not_a_photo_is_rejected_in_the_browser(visit, page_url, function, viewport):
    visitor = visit(page_url, viewport=viewport)
    for name, content, mime in (("a.txt", b"Dear bird,", "text/plain"), ("a.jpg", b"", "")):
        visitor.pick(name, content, mime)
        visitor.page.locator(".problem", has_text=name).wait_for()
    assert not function.photos
    visitor.pick("bird.jpg", drawn_bird())
    visitor.wait_for_result()
    assert visitor.page.locator(".problem").count() == 0


def test_a_phone_photo_is_turned_shrunk_and_stripped_of_metadata_before_it_is_sent(
    visit, page_url, function
):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: rotated by 90 degrees
    exif.get_ifd(0x8825)[1] = "N"  # position
    pixels = drawn.draw_bird("Blue_backed_Inkling", 0, 500, 375).repeat(8, 0).repeat(8, 1)
    photo = drawn.encode_photo(pixels, quality=90, exif=exif)
    visitor = visit(page_url)
    visitor.pick("phone.jpg", photo)
    visitor.wait_for_result()
    (data,) = function.photos
    sent = Image.open(io.BytesIO(data))
    assert sent.size == (1200, 1600)
    assert len(data) < 300_000
    assert not sent.getexif()
    assert mean_difference(sent, crop(photo, (0, 0, 3000, 4000))) < 6
    assert photo_size(visitor.page) == [768, 1024]


def test_a_photo_that_the_browser_cannot_decode_is_sent_whole_in_parts(visit, page_url, function):
    visitor, photo = visit(page_url), np.random.default_rng(0).bytes(3 * 2**20)
    visitor.pick("phone.heic", photo, "")
    visitor.wait_for_result()
    assert function.photos == [photo]
    frames = [frame for frame in visitor.sent if isinstance(frame, bytes)]
    assert max(map(len, frames)) < 2**20 + 2**14
    assert not visitor.errors


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_a_photo_can_be_dropped_and_pasted(visit, page_url, function, event):
    visitor = visit(page_url)
    visitor.transfer(event, "bird.jpg", drawn_bird())
    visitor.wait_for_result()
    assert len(function.photos) == 1


def test_a_phone_offers_its_camera(visit, static_page_url):
    visitor = visit(static_page_url, viewport=PHONE, has_touch=True, is_mobile=True)
    with visitor.page.expect_file_chooser() as chooser:
        visitor.page.get_by_role("button", name="Take a photo").tap()
    assert chooser.value.element.get_attribute("capture") == "environment"
    chooser.value.set_files({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": drawn_bird()})
    visitor.wait_for_result()


def test_the_square_can_be_dragged_and_resized(visit, page_url, function):
    visitor, photo = visit(page_url, viewport=DESKTOP), drawn_bird(900, 600)
    visitor.pick("bird.jpg", photo)
    visitor.wait_for_result()
    box = visitor.page.locator(".box").bounding_box()
    drag(visitor, box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, -500, 0)
    wait_until(lambda: len(function.photos) == 2)
    assert mean_difference(last_photo(function), crop(photo, (0, 0, 600, 600))) < 6
    corner = visitor.page.locator(".handle").bounding_box()
    drag(visitor, corner["x"] + 10, corner["y"] + 10, -100, -100)
    wait_until(lambda: len(function.photos) == 3)
    small = last_photo(function)
    assert small.width == small.height < 550
    assert mean_difference(small, crop(photo, (0, 0, *small.size))) < 6


def test_a_photo_is_picked_and_its_square_moved_by_keyboard_alone(visit, page_url, function):
    visitor = visit(page_url, viewport=DESKTOP)
    visitor.page.get_by_text("The model knows").wait_for()  # the page is complete
    keys = visitor.page.keyboard

    def tab_to(name):
        for _ in range(20):
            keys.press("Tab")
            if name in visitor.page.evaluate("document.activeElement.className").split():
                return
        raise AssertionError(f"{name} cannot be reached")

    tab_to("picker")
    with visitor.page.expect_file_chooser() as chooser:
        keys.press("Enter")
    photo = drawn_bird(900, 600)
    chooser.value.set_files({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": photo})
    visitor.wait_for_result()
    tab_to("box")
    for _ in range(20):
        keys.press("ArrowLeft")
    wait_until(lambda: len(function.photos) >= 2)
    assert mean_difference(last_photo(function), crop(photo, (0, 0, 600, 600))) < 6
    keys.press("-")
    wait_until(lambda: last_photo(function).width < 600)


def test_several_photos_become_a_table_and_a_csv_file(visit, page_url, function):
    visitor = visit(page_url, viewport=PHONE)
    function.first_responses = [
        *(response(RESULT), response(UNKNOWN)),
        response({"detail": "The photo is damaged."}, 422),
    ]
    photos = {"=one.jpg": drawn_bird(), "two, a.jpg": drawn_bird(), "damaged.jpg": b"no photo"}
    visitor.pick_several(photos)
    visitor.page.get_by_role("heading", name="3 photos", exact=True).wait_for()
    with visitor.page.expect_download() as download:
        visitor.page.get_by_role("button", name="Download as CSV").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text("utf-8"))))
    assert [row["file"] for row in rows] == ["'=one.jpg", "two, a.jpg", "damaged.jpg"]
    assert sorted(row["kind"] for row in rows) == ["problem", "species", "unknown"]
    assert all(bool(row["probability"]) == (row["kind"] == "species") for row in rows)
    visitor.page.get_by_role("button", name="damaged.jpg").click()
    visitor.page.locator(".answer").get_by_text(rows[2]["text"]).wait_for()
    assert visitor.page.get_by_text("Your browser cannot show this kind of photo.").is_visible()


def test_a_photo_stays_and_can_be_tried_again_when_the_function_fails(visit, page_url, function):
    visitor = visit(page_url)
    function.respond_with(b"<html>bad gateway</html>", 502)
    visitor.pick("bird.jpg", drawn_bird())
    visitor.page.locator(".problem").wait_for()
    assert photo_of(visitor.page).is_visible()
    function.respond_with({"predictions": [{}], "answer": None})
    visitor.page.get_by_role("button", name="Try again").click()
    visitor.page.get_by_text("a response that this page cannot read").wait_for()
    function.respond_with(RESULT)
    visitor.pick("bird.jpg", drawn_bird())
    visitor.wait_for_result()
    assert function.photos[0] == function.photos[1]


def test_replaced_photos_do_not_block_the_new_one(visit, page_url, function):
    """Two requests hang; the photo that replaces them is sent all the same."""
    visitor = visit(page_url)
    function.gate.clear()
    visitor.pick_several({"one.jpg": drawn_bird(), "two.jpg": drawn_bird(400, 300)})
    wait_until(lambda: len(function.photos) == 2)
    visitor.pick("three.jpg", drawn_bird(500, 500))
    wait_until(lambda: len(function.photos) == 3)
    function.gate.set()
    visitor.wait_for_result()


def test_a_model_card_that_failed_is_requested_again_after_a_result(visit, page_url, function):
    function.model_card = b"<html>cold</html>"
    visitor = visit(page_url)
    visitor.page.get_by_text("Information about the model is not available.").wait_for()
    function.reset()
    visitor.pick("bird.jpg", drawn_bird())
    visitor.page.get_by_text("The model knows 2 species").wait_for()


def test_a_cold_start_is_shown(visit, page_url, function):
    function.awake.clear()
    visitor = visit(page_url)
    visitor.page.get_by_text("The model is starting").wait_for()
    function.awake.set()
    visitor.page.get_by_text("The model knows 2 species").wait_for()


def test_bars_show_the_probabilities_and_text_is_never_parsed_as_markup(visit, page_url, function):
    visitor = visit(page_url)
    page = visitor.page
    visitor.pick("bird.jpg", drawn_bird())
    page.get_by_role("heading", name=RESULT["answer"]["text"]).wait_for()
    ratio = "bar => bar.firstElementChild.getBoundingClientRect().width / bar.clientWidth"
    ratios = [bar.evaluate(ratio) for bar in page.locator(".bar").all()]
    assert ratios == pytest.approx([p["probability"] for p in RESULT["predictions"]], abs=0.01)
    assert page.locator(".percent").all_inner_texts() == ["80\xa0%", "< 1\xa0%"]
    page.locator("summary").click()
    assert page.locator(".about li").last.inner_text() == "Reed <b>Bird</b> Avis arundinis"
    for fact in ("trained_on", "licence"):
        assert page.get_by_text(MODEL[fact]).is_visible()
    page.get_by_role("searchbox").fill("arundinis")
    page.get_by_text("1 of 2 species").wait_for()
    assert page.locator(".about li:visible").count() == 1


def test_a_function_that_is_down_is_reported(visit, logs):
    with run_page("http://127.0.0.1:9", logs / "page-alone.txt") as page:
        visitor = visit(page.url)
        visitor.page.get_by_text("Information about the model is not available.").wait_for()
        visitor.pick("bird.jpg", drawn_bird())
        visitor.page.locator(".problem").wait_for()
        assert "Traceback" not in visitor.page.content()
        visitor.leave()


def test_the_kernel_is_shut_down_after_the_visit(visit, page_url, function):
    visitor = visit(page_url)
    kernel = next(url for url in visitor.requested if "/api/kernels/" in url)
    assert responds(kernel)
    visitor.leave()
    wait_until(lambda: not responds(kernel))


@BOTH
def test_the_heat_map_covers_the_square_and_can_be_switched_off(
    visit, page_url, function, viewport
):
    visitor = visit(page_url, viewport=viewport)
    page = visitor.page
    for width, height in ((900, 500), (500, 900), (227, 227)):
        visitor.pick("bird.jpg", drawn_bird(width, height))
        page.wait_for_selector(".heatmap")
        photo, heatmap = photo_of(page).bounding_box(), page.locator(".heatmap").bounding_box()
        side = min(photo["width"], photo["height"])
        assert photo["width"] / photo["height"] == pytest.approx(width / height, rel=0.02)
        for start, extent in (("x", "width"), ("y", "height")):
            assert heatmap[extent] == pytest.approx(side, abs=3)
            centre = photo[start] + photo[extent] / 2
            assert heatmap[start] + heatmap[extent] / 2 == pytest.approx(centre, abs=2)
    switch = page.get_by_role("checkbox")
    switch.uncheck()
    assert not page.locator(".heatmap").is_visible()
    switch.check()
    assert page.locator(".heatmap").is_visible()
    function.respond_with(RESULT | {"heatmap": None})
    visitor.pick("bird.jpg", drawn_bird())
    visitor.wait_for_result()
    assert not page.locator(".heatmap, .switch").count()
