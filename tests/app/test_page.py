"""The page, driven from upload to answer as a visitor does."""

import csv
import io
from contextlib import ExitStack
from urllib.parse import urlsplit

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image, ImageOps

from birds import drawn
from tests.birds.test_photo import heic
from tests.browser import Visit, answers, chromium, eventually, served_function, served_page
from tests.stand_in import ANSWER, BUSY, MODEL, reply, stand_in

pytestmark = pytest.mark.browser

KEY = "a-key-nobody-may-see"
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
BOTH = pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])


SHAPES = {"wide": (900, 500), "tall": (500, 900), "square": (227, 227)}


def drawn_bird(width=800, height=600, **save) -> bytes:
    return drawn.encode_photo(
        drawn.draw_bird("Blue_backed_Inkling", 0, width, height), quality=90, **save
    )


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser):
    """Return a function that visits an address; each visit ends with the test."""
    with ExitStack() as visits:

        def arrive(url, **context):
            visit = Visit(browser, url, **context)
            visits.callback(visit.page.context.close)
            visits.callback(visit.leave)
            return visit

        yield arrive


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def real_page(browser, logs):
    """Serve the page before the real function; both know the key."""
    with (
        served_function(logs / "function.txt", key=KEY) as function,
        served_page(function, logs / "page.txt", key=KEY) as url,
    ):
        yield url


@pytest.fixture(scope="module")
def pretender():
    with stand_in() as pretender:
        yield pretender


@pytest.fixture(scope="module")
def page_of_stand_in(browser, pretender, logs):
    with served_page(pretender.url, logs / "page-of-stand-in.txt") as url:
        yield url


@pytest.fixture
def function(pretender):
    """Return the stand-in, for a test to change; after it all is as before."""
    pretender.asked.clear()
    yield pretender
    pretender.answers(ANSWER)
    pretender.gate.set()
    pretender.awake.set()
    pretender.facts = None


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_photo_is_named_by_the_real_function(visit, real_page, viewport):
    visitor = visit(real_page, viewport=viewport)
    page, name = visitor.page, f"{viewport['width']}"
    assert page.title() == "Fieldmark"
    page.get_by_text("species, and sees best when the bird fills the square.").wait_for()
    visitor.shoot(f"{name}-before")
    visitor.pick("bird.jpg", drawn_bird())
    page.locator(".bars").wait_for()
    assert page.locator(".bars li").count() == 5
    assert photo_of(page).evaluate("canvas => [canvas.width, canvas.height]") == [800, 600]
    assert "I don't know this bird" in page.locator(".card h2").inner_text()  # a drawn one
    visitor.shoot(f"{name}-answer")
    page.locator("summary").click()
    page.locator(".about li").first.wait_for()
    visitor.shoot(f"{name}-about")

    assert not visitor.scrolls_sideways()
    assert not visitor.errors
    assert {urlsplit(url).hostname for url in visitor.requested} <= {"127.0.0.1", None}
    assert b"Fieldmark" in visitor.everything_received()
    assert KEY.encode() not in visitor.everything_received()


@BOTH
def test_a_file_that_is_no_photo_gets_a_sentence_and_is_not_sent(
    visit, page_of_stand_in, function, viewport
):
    visitor = visit(page_of_stand_in, viewport=viewport)
    visitor.pick("letter.txt", b"Dear bird,", "text/plain")
    visitor.page.get_by_text("letter.txt is no photo.").wait_for()
    assert visitor.page.get_by_text("Your browser cannot show this kind of photo.").is_visible()
    visitor.pick("empty.jpg", b"")
    visitor.page.get_by_text("empty.jpg is empty.").wait_for()
    assert not function.photos
    visitor.pick("bird.jpg", drawn_bird())
    visitor.page.locator(".bars").wait_for()
    assert visitor.page.locator(".problem").count() == 0


def test_a_photo_that_the_browser_cannot_read_is_sent_as_it_is(visit, real_page):
    visitor = visit(real_page)
    visitor.pick("phone.heic", heic(drawn.draw_bird("Night_Inkling", 0, 300, 300)), "")
    visitor.page.locator(".bars").wait_for()
    assert visitor.page.get_by_text("Your browser cannot show this kind of photo.").is_visible()


def test_a_phone_photo_is_turned_shrunk_and_stripped_before_it_leaves(
    visit, page_of_stand_in, function
):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to see it upright
    exif.get_ifd(0x8825)[1] = "N"  # where it was taken
    pixels = drawn.draw_bird("Blue_backed_Inkling", 0, 500, 375).repeat(8, 0).repeat(8, 1)
    photo = drawn.encode_photo(pixels, quality=90, exif=exif)
    visitor = visit(page_of_stand_in)
    visitor.pick("phone.jpg", photo)
    visitor.page.locator(".bars").wait_for()
    (data,) = function.photos
    sent = Image.open(io.BytesIO(data))
    assert sent.size == (1024, 1024)
    assert len(data) < 300_000
    assert not sent.getexif()
    assert likeness(sent, square(photo)) < 6
    shape = photo_of(visitor.page).evaluate("canvas => [canvas.width, canvas.height]")
    assert shape == [768, 1024]


def square(photo: bytes, box=None) -> Image.Image:
    """Return the upright photo's middle square, or another, as the browser should send it."""
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(photo))).convert("RGB")
    width, height = upright.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return upright.crop(box or (left, top, left + side, top + side))


def likeness(one: Image.Image, other: Image.Image) -> float:
    """Return the mean difference of two pictures, in levels of 256."""
    small = [np.asarray(each.convert("RGB").resize((128, 128)), float) for each in (one, other)]
    return float(np.abs(small[0] - small[1]).mean())


def photo_of(page):
    return page.get_by_role("img", name="The photo you picked")


@BOTH
@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_photo_can_be_dropped_and_pasted(visit, page_of_stand_in, function, way, viewport):
    visitor = visit(page_of_stand_in, viewport=viewport)
    visitor.hand(way, "bird.jpg", drawn_bird())
    visitor.page.locator(".bars").wait_for()
    assert len(function.photos) == 1


def test_a_phone_offers_its_camera(visit, page_of_stand_in):
    visitor = visit(page_of_stand_in, viewport=PHONE, has_touch=True, is_mobile=True)
    with visitor.page.expect_file_chooser() as chooser:
        visitor.page.get_by_role("button", name="Take a photo").tap()
    assert chooser.value.element.get_attribute("capture") == "environment"
    chooser.value.set_files({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": drawn_bird()})
    visitor.page.locator(".bars").wait_for()


def test_the_square_can_be_dragged_and_is_asked_about_anew(visit, page_of_stand_in, function):
    visitor, photo = visit(page_of_stand_in, viewport=DESKTOP), drawn_bird(900, 600)
    visitor.pick("bird.jpg", photo)
    visitor.page.locator(".bars").wait_for()
    assert likeness(Image.open(io.BytesIO(function.photos[0])), square(photo)) < 6
    box = visitor.page.locator(".box").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    visitor.page.mouse.move(*middle)
    visitor.page.mouse.down()
    visitor.page.mouse.move(middle[0] - 500, middle[1], steps=5)
    visitor.page.mouse.up()
    eventually(lambda: len(function.photos) == 2)
    moved = Image.open(io.BytesIO(function.photos[1]))
    assert likeness(moved, square(photo, (0, 0, 600, 600))) < 6
    corner = visitor.page.locator(".handle").bounding_box()
    visitor.page.mouse.move(corner["x"] + 10, corner["y"] + 10)
    visitor.page.mouse.down()
    visitor.page.mouse.move(corner["x"] - 90, corner["y"] - 90, steps=5)
    visitor.page.mouse.up()
    eventually(lambda: len(function.photos) == 3)
    small = Image.open(io.BytesIO(function.photos[2]))
    assert small.width == small.height < 550
    assert likeness(small, square(photo, (0, 0, *small.size))) < 6


def test_by_keyboard_alone_a_photo_is_picked_and_its_square_moved(
    visit, page_of_stand_in, function
):
    visitor = visit(page_of_stand_in, viewport=DESKTOP)
    visitor.page.get_by_text("It knows 2 species").wait_for()  # the page has come to rest
    focused = "document.activeElement.className"
    keys = visitor.page.keyboard
    for _ in range(20):
        keys.press("Tab")
        if "picker" in visitor.page.evaluate(focused):
            break
    with visitor.page.expect_file_chooser() as chooser:
        keys.press("Enter")
    photo = drawn_bird(900, 600)
    chooser.value.set_files({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": photo})
    visitor.page.locator(".bars").wait_for()
    for _ in range(20):
        keys.press("Tab")
        if visitor.page.evaluate(focused).startswith("box"):
            break
    for _ in range(20):
        keys.press("ArrowLeft")
    eventually(lambda: len(function.photos) >= 2)
    last = Image.open(io.BytesIO(function.photos[-1]))
    assert likeness(last, square(photo, (0, 0, 600, 600))) < 6
    keys.press("-")
    eventually(lambda: Image.open(io.BytesIO(function.photos[-1])).width < 600)


@BOTH
def test_several_photos_become_a_table_and_a_csv(visit, real_page, viewport):
    visitor = visit(real_page, viewport=viewport)
    photos = {name: drawn_bird(400, 300) for name in ("one.jpg", "=two.jpg", "three, a.jpg")}
    visitor.pick_several(photos | {"damaged.jpg": b"no photo"})
    visitor.page.get_by_role("heading", name="4 photos", exact=True).wait_for()
    with visitor.page.expect_download() as download:
        visitor.page.get_by_role("button", name="Download as CSV").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text("utf-8"))))
    assert [row["file"] for row in rows] == ["one.jpg", "'=two.jpg", "three, a.jpg", "damaged.jpg"]
    assert all(row["kind"] in ("species", "shortlist", "unknown") for row in rows[:3])
    assert all(0 < float(row["probability"]) <= 1 and row["label"] for row in rows[:3])
    assert rows[3]["kind"] == "problem"
    visitor.page.get_by_role("button", name="damaged.jpg").click()
    visitor.page.locator(".answer .problem", has_text=rows[3]["text"]).wait_for()
    visitor.page.get_by_role("button", name="one.jpg").click()
    visitor.page.locator(".answer .bars").wait_for()
    assert not visitor.scrolls_sideways()


@BOTH
def test_a_photo_is_kept_and_asked_about_again_where_the_function_failed(
    visit, page_of_stand_in, function, viewport
):
    visitor = visit(page_of_stand_in, viewport=viewport)
    function.answers(b"<html>bad gateway</html>", 502)
    visitor.pick("bird.jpg", drawn_bird())
    visitor.page.locator(".problem").wait_for()
    assert_accessible(visitor)
    assert photo_of(visitor.page).is_visible()
    function.answers(ANSWER)
    visitor.page.get_by_role("button", name="Try again").click()
    visitor.page.locator(".bars").wait_for()
    assert function.photos[0] == function.photos[1]


def test_a_shortlist_is_told_as_one_and_leads_to_more(visit, page_of_stand_in, function):
    listed = {"kind": "shortlist", "labels": ["Reed Bird", "Ash Bird"], "taxon": None}
    function.answers(ANSWER | {"answer": listed | {"text": "A Reed Bird or an Ash Bird."}})
    visitor = visit(page_of_stand_in, viewport=PHONE)
    visitor.pick("bird.jpg", drawn_bird())
    visitor.page.get_by_role("heading", name="A Reed Bird or an Ash Bird.").wait_for()
    assert visitor.page.get_by_text("Too close to call.").is_visible()
    more = visitor.page.get_by_role("link", name="Read about")
    assert more.get_attribute("href") == "https://en.wikipedia.org/wiki/Avis_arundinis"
    assert_accessible(visitor)
    visitor.shoot("390-shortlist")


def test_a_photo_that_was_given_up_for_another_is_in_nobodys_way(visit, page_of_stand_in, function):
    """Two requests hang; what comes after them is asked about all the same."""
    visitor = visit(page_of_stand_in)
    function.gate.clear()
    visitor.pick_several({"one.jpg": drawn_bird(), "two.jpg": drawn_bird(400, 300)})
    eventually(lambda: len(function.photos) == 2)
    visitor.pick("three.jpg", drawn_bird(500, 500))
    eventually(lambda: len(function.photos) == 3)
    function.gate.set()
    visitor.page.locator(".bars").wait_for()


def test_a_model_that_was_silent_at_first_is_asked_again_after_an_answer(
    visit, page_of_stand_in, function
):
    function.facts = b"<html>cold</html>"
    visitor = visit(page_of_stand_in)
    visitor.page.get_by_text("What the model knows cannot be shown yet.").wait_for()
    function.facts = None
    visitor.pick("bird.jpg", drawn_bird())
    visitor.page.get_by_text("It knows 2 species").wait_for()


def test_a_busy_function_is_asked_again_by_itself(visit, page_of_stand_in, function):
    function.first = [reply(BUSY, 503, retry_after=1)]
    visitor = visit(page_of_stand_in)
    visitor.pick("bird.jpg", drawn_bird())
    visitor.page.locator(".bars").wait_for()
    assert len(function.photos) == 2


def test_the_page_says_that_the_model_is_waking_up(visit, page_of_stand_in, function):
    function.awake.clear()
    visitor = visit(page_of_stand_in)
    visitor.page.get_by_text("The model is waking up").wait_for()
    function.awake.set()
    visitor.page.get_by_text("It knows 2 species").wait_for()


def test_the_species_can_be_searched(visit, page_of_stand_in):
    visitor = visit(page_of_stand_in)
    visitor.page.locator("summary").click()
    visitor.page.get_by_role("searchbox").fill("arundinis")
    visitor.page.get_by_text("1 of 2 species").wait_for()
    assert visitor.page.locator(".about li:visible").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_no_state_of_the_page_violates_a_rule_of_accessibility(visit, real_page, viewport, scheme):
    visitor = visit(real_page, viewport=viewport, color_scheme=scheme)
    visitor.page.locator("summary").click()
    assert_accessible(visitor)
    visitor.pick("bird.jpg", drawn_bird())
    visitor.page.locator(".bars").wait_for()
    assert_accessible(visitor)
    visitor.shoot(f"{viewport['width']}-answer-{scheme}")
    visitor.pick_several({"one.jpg": drawn_bird(), "two.txt": b"Dear bird,"})
    visitor.page.get_by_role("heading", name="2 photos", exact=True).wait_for()
    assert_accessible(visitor)
    visitor.shoot(f"{viewport['width']}-several-{scheme}")
    assert not visitor.scrolls_sideways()


def assert_accessible(visitor):
    found = Axe().run(visitor.page)
    assert found.response["passes"]
    assert not found.violations_count, found.generate_report()


def test_work_is_seen_to_go_on_before_the_answer(visit, page_of_stand_in, function):
    visitor = visit(page_of_stand_in, viewport=DESKTOP)
    function.gate.clear()
    visitor.pick("bird.jpg", drawn_bird())
    visitor.page.get_by_text("Looking at your photo").wait_for()
    assert photo_of(visitor.page).is_visible()
    assert_accessible(visitor)
    visitor.shoot("1280-busy")
    function.gate.set()
    visitor.page.locator(".bars").wait_for()
    assert visitor.page.get_by_text("Looking at your photo").count() == 0
    visitor.page.get_by_role("button", name="Pick another photo").wait_for()


def test_bars_are_as_long_as_the_labels_are_probable(visit, page_of_stand_in):
    visitor = visit(page_of_stand_in)
    visitor.pick("bird.jpg", drawn_bird())
    visitor.page.locator(".bars").wait_for()
    share = "bar => bar.firstElementChild.getBoundingClientRect().width / bar.clientWidth"
    shares = [bar.evaluate(share) for bar in visitor.page.locator(".bar").all()]
    assert shares == pytest.approx([p["probability"] for p in ANSWER["predictions"]], abs=0.01)
    assert visitor.page.locator(".percent").all_inner_texts() == ["80\xa0%", "< 1\xa0%"]
    assert visitor.page.locator(".bars i").all_inner_texts() == ["Avis arundinis"]


def test_what_the_function_says_is_text_and_never_markup(visit, page_of_stand_in):
    visitor = visit(page_of_stand_in)
    visitor.pick("bird.jpg", drawn_bird())
    visitor.page.get_by_role("heading", name=ANSWER["answer"]["text"]).wait_for()
    visitor.page.locator("summary").click()
    assert visitor.page.locator(".about li").last.inner_text() == "Reed <b>Bird</b> Avis arundinis"
    for fact in ("trained_on", "licence"):
        assert visitor.page.get_by_text(MODEL[fact]).is_visible()
    assert visitor.page.get_by_text("named 75\xa0% right").is_visible()


def test_when_the_function_fails_the_photo_stays_and_can_be_picked_again(
    visit, page_of_stand_in, function
):
    visitor = visit(page_of_stand_in, viewport=PHONE, color_scheme="dark")
    function.answers({"detail": "The model is waking up. Try again in 5 seconds."}, 503)
    visitor.pick("bird.jpg", drawn_bird())
    visitor.page.get_by_text("The model is waking up. Try again in 5 seconds.").wait_for()
    assert photo_of(visitor.page).is_visible()
    visitor.shoot("390-error-dark")
    function.answers(ANSWER)
    visitor.pick("bird.jpg", drawn_bird())
    visitor.page.locator(".bars").wait_for()


def test_an_answer_that_the_page_does_not_foresee_does_not_lock_it(
    visit, page_of_stand_in, function
):
    visitor = visit(page_of_stand_in)
    function.answers({"predictions": [{}], "answer": None})
    visitor.pick("bird.jpg", drawn_bird())
    visitor.page.get_by_text("an answer that this page cannot read").wait_for()
    visitor.page.locator(".picker:not(.camera):enabled").wait_for()


def test_a_function_that_is_down_is_told_in_a_sentence(visit, logs):
    with served_page("http://127.0.0.1:9", logs / "page-alone.txt") as url:
        visitor = visit(url)
        visitor.page.get_by_text("What the model knows cannot be shown yet.").wait_for()
        visitor.pick("bird.jpg", drawn_bird())
        visitor.page.locator(".problem").wait_for()
        assert "Traceback" not in visitor.page.content()
        assert "try again" in visitor.page.locator(".problem").inner_text()


def test_a_kernel_ends_with_its_visit(visit, page_of_stand_in):
    visitor = visit(page_of_stand_in)
    kernel = next(url for url in visitor.requested if "/api/kernels/" in url)
    assert answers(kernel)
    visitor.leave()
    eventually(lambda: not answers(kernel))


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_heat_map_lies_over_the_square_that_the_model_saw(visit, real_page, shape, viewport):
    """The photo as it is shown, the square and the map are measured in the browser."""
    seen = visit(real_page, viewport=viewport)
    width, height = SHAPES[shape]
    seen.pick("bird.jpg", drawn_bird(width, height))
    seen.page.wait_for_selector(".heat")
    photo, heat = photo_of(seen.page).bounding_box(), seen.page.locator(".heat").bounding_box()
    side = min(photo["width"], photo["height"])
    assert photo["width"] / photo["height"] == pytest.approx(width / height, rel=0.02)
    assert heat["width"] == pytest.approx(side, abs=3)
    assert heat["height"] == pytest.approx(side, abs=3)
    for place, extent in (("x", "width"), ("y", "height")):
        middle = photo[place] + photo[extent] / 2
        assert heat[place] + heat[extent] / 2 == pytest.approx(middle, abs=2)


def test_the_heat_map_can_be_switched_off_and_on(visit, real_page):
    seen = visit(real_page)
    seen.pick("bird.jpg", drawn_bird())
    switch = seen.page.get_by_label("Show what the model looked at")
    switch.wait_for()
    assert seen.page.locator(".heat").is_visible()
    switch.uncheck()
    assert not seen.page.locator(".heat").is_visible()
    switch.check()
    assert seen.page.locator(".heat").is_visible()


def test_without_a_heat_map_there_is_nothing_to_switch(visit, page_of_stand_in, function):
    function.answers(ANSWER | {"heatmap": None})
    seen = visit(page_of_stand_in)
    seen.pick("bird.jpg", drawn_bird())
    seen.page.wait_for_selector(".bars")
    assert not seen.page.locator(".heat, .switch").count()


@pytest.fixture(scope="module")
def page_without_kernel(browser, logs):
    """Let the function itself serve the page."""
    with served_function(logs / "open-function.txt", FIELDMARK_PAGE="1") as url:
        yield url + "/"


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_without_a_kernel_names_a_photo(visit, page_without_kernel, viewport):
    visitor = visit(page_without_kernel, viewport=viewport)
    assert visitor.page.title() == "Fieldmark"
    visitor.page.get_by_text("It knows 100 species").wait_for()
    visitor.pick("bird.jpg", drawn_bird())
    visitor.page.locator(".bars").wait_for()
    assert visitor.page.locator(".heat").is_visible()
    visitor.page.locator("summary").click()
    assert_accessible(visitor)
    visitor.shoot(f"{viewport['width']}-without-kernel")
    assert not visitor.scrolls_sideways()
    assert not visitor.errors
    paths = {urlsplit(url).path for url in visitor.requested if url.startswith("http")}
    assert paths == {"/", "/api/model", "/api/classify"}


def test_the_page_without_a_kernel_keeps_a_photo_through_trouble(visit, page_without_kernel):
    visitor = visit(page_without_kernel)
    visitor.page.get_by_text("It knows 100 species").wait_for()
    asked = []

    def trouble(route):
        asked.append(route)
        if len(asked) == 1:
            headers = {"retry-after": "1", "content-type": "application/problem+json"}
            route.fulfill(status=503, headers=headers, json=BUSY)
        elif len(asked) == 2:
            route.abort()
        else:
            route.continue_()

    visitor.page.route("**/api/classify*", trouble)
    visitor.pick("bird.jpg", drawn_bird())
    visitor.page.get_by_text("The model cannot be reached just now.").wait_for()
    assert len(asked) == 2  # it was busy, and asked again by itself
    visitor.page.get_by_role("button", name="Try again").click()
    visitor.page.locator(".bars").wait_for()
    assert len(asked) == 3
