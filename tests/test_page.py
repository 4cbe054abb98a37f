"""The page, driven from upload to answer as a visitor does."""

from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from PIL import Image

from birds import drawn
from tests.browser import Visit, answers, chromium, eventually, served_function, served_page
from tests.stand_in import ANSWER, MODEL, stand_in

pytestmark = pytest.mark.browser

KEY = "a-key-nobody-may-see"
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


SHAPES = {"wide": (900, 500), "tall": (500, 900), "square": (227, 227)}


def drawn_bird(width=800, height=600, **save) -> bytes:
    return drawn.encoded(drawn.bird("Blue_backed_Inkling", 0, width, height), quality=90, **save)


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
    yield pretender
    pretender.answers(ANSWER)
    pretender.gate.set()


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_photo_is_named_by_the_real_function(visit, real_page, viewport):
    visitor = visit(real_page, viewport=viewport)
    page, name = visitor.page, f"{viewport['width']}"
    assert page.title() == "Fieldmark"
    page.get_by_text("species. It sees best when the bird fills the frame.").wait_for()
    visitor.shoot(f"{name}-before")
    visitor.pick("bird.jpg", drawn_bird())
    page.locator(".bars").wait_for()
    assert page.locator(".bars li").count() == 5
    assert page.get_by_alt_text("The photo you picked").evaluate("img => img.naturalWidth") == 800
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


def test_a_file_that_is_no_photo_gets_a_sentence_and_another_can_be_picked(visit, real_page):
    visitor = visit(real_page)
    visitor.pick("letter.txt", b"Dear bird,", "text/plain")
    visitor.page.locator(".problem").wait_for()
    assert visitor.page.get_by_text("Your browser cannot show this kind of photo.").is_visible()
    visitor.pick("bird.jpg", drawn_bird())
    visitor.page.locator(".bars").wait_for()
    assert visitor.page.locator(".problem").count() == 0


def test_a_photo_of_12_megabytes_gets_an_answer(visit, real_page):
    heavy = drawn_bird() + bytes(12_000_000)  # JPEG readers skip the rest
    visitor = visit(real_page)
    visitor.pick("heavy.jpg", heavy)
    visitor.page.locator(".bars").wait_for()


def test_a_rotated_phone_photo_is_shown_upright(visit, page_of_stand_in):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to see it upright
    visitor = visit(page_of_stand_in)
    visitor.pick("phone.jpg", drawn_bird(800, 600, exif=exif))
    photo = visitor.page.get_by_alt_text("The photo you picked")
    photo.wait_for()
    assert photo.evaluate("img => [img.naturalWidth, img.naturalHeight]") == [600, 800]


def test_work_is_seen_to_go_on_before_the_answer(visit, page_of_stand_in, function):
    visitor = visit(page_of_stand_in, viewport=DESKTOP)
    function.gate.clear()
    visitor.pick("bird.jpg", drawn_bird())
    visitor.page.get_by_text("Looking at your photo").wait_for()
    assert visitor.page.get_by_alt_text("The photo you picked").is_visible()
    assert visitor.button.is_disabled()
    visitor.shoot("1280-busy")
    function.gate.set()
    visitor.page.locator(".bars").wait_for()
    assert visitor.page.get_by_text("Looking at your photo").count() == 0
    visitor.page.locator(".picker:enabled[title='Pick another photo']").wait_for()


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
    assert visitor.page.get_by_alt_text("The photo you picked").is_visible()
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
    visitor.page.locator(".picker:enabled").wait_for()


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
    """The picture as it is shown, and the map's frame, are measured in the browser."""
    seen = visit(real_page, viewport=viewport)
    width, height = SHAPES[shape]
    seen.pick("bird.jpg", drawn_bird(width, height))
    seen.page.wait_for_selector(".heat")
    photo, crop = (seen.page.locator(s).bounding_box() for s in (".card img", ".heat .ground"))
    side = min(photo["width"], photo["height"])
    assert photo["width"] / photo["height"] == pytest.approx(width / height, rel=0.02)
    assert crop["width"] == pytest.approx(side, abs=3)
    assert crop["height"] == pytest.approx(side, abs=3)
    for place, extent in (("x", "width"), ("y", "height")):
        middle = photo[place] + photo[extent] / 2
        assert crop[place] + crop[extent] / 2 == pytest.approx(middle, abs=2)


def test_a_rotated_photo_and_its_map_are_upright(visit, real_page):
    exif = Image.Exif()
    exif[0x0112] = 6  # the phone was turned
    seen = visit(real_page)
    seen.pick("bird.jpg", drawn_bird(900, 500, exif=exif))
    seen.page.wait_for_selector(".heat")
    photo, crop = (seen.page.locator(s).bounding_box() for s in (".card img", ".heat .ground"))
    assert photo["height"] > photo["width"]
    assert crop["width"] == pytest.approx(photo["width"], abs=3)


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
