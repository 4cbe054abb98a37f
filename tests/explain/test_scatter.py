"""The interactive map of photos, as people use it in a browser without a network."""

import nbformat
import numpy as np
import pytest

from fieldmark.explain.map.colours import NO_FAMILY, colour_species, list_legends
from fieldmark.explain.map.scatter import draw_scatter, list_points
from fieldmark.explain.map.thumbnails import make_thumbnails
from fieldmark.explain.page import write_page
from tests.browser import Visit, run_browser

HOSTILE = "</script><script>alert(1)</script>&\"'"
PHONE = {"width": 390, "height": 844}
POINT = """(row) => {  // the place of a photo, in pixels of the window
  const plot = Bokeh.documents[0].roots()[0];
  const view = Bokeh.index.find_one(plot);
  const { x, y } = view.canvas_view.el.getBoundingClientRect();
  const { sx, sy } = view.views.find_one(plot.renderers[0]).glyph;
  return [x + sx[row], y + sy[row]];
}"""


def test_species_of_a_family_share_a_hue_and_no_two_species_a_colour():
    labels = [f"species {number}" for number in range(100)]
    families = [f"family {number % 30}" for number in range(100)]
    colours = colour_species(labels, families)
    assert sorted(colours) == sorted(labels)
    assert len(set(colours.values())) == 100
    assert len(set(colour_species(labels, [NO_FAMILY] * 100).values())) == 100


@pytest.fixture(scope="module")
def page(explained):
    """Draw photos of drawn birds at random points, whose first species has a hostile name."""
    rows = np.arange(len(explained.photos))
    labels = [HOSTILE, *explained.labels[1:]]
    explained.network.labels[:] = labels
    try:
        rng = np.random.default_rng(0)
        places = {name: rng.uniform(size=(len(rows), 2)) for name in ("PCA", "t-SNE")}
        return draw_scatter(explained, rows, places, make_thumbnails(explained, rows))
    finally:
        explained.network.labels[:] = explained.predictions.labels


def test_legends_count_each_photo_once(explained):
    table = list_points(explained, np.arange(len(explained.photos)))
    legends = list_legends(table, {"answer": {"right": "#000", "wrong": "#fff"}})
    (group,) = legends["answer"]
    counts = {item["name"]: item["n"] for item in group["items"]}
    assert counts.get("right", 0) == explained.predictions.correct.sum()
    assert sum(counts.values()) == len(table)


@pytest.mark.browser
def test_a_photo_is_shown_at_its_point_and_moves_with_the_projection(page, explained, tmp_path):
    page.write_file(tmp_path / "map.html")
    with run_browser() as browser:
        visit = Visit(browser, (tmp_path / "map.html").as_uri(), "#legend button")
        shown, places = visit.page, []
        for projection in ("PCA", "t-SNE"):
            shown.select_option("#projection", projection)
            shown.wait_for_timeout(500)  # the plot follows in an animation frame
            places.append(shown.evaluate(POINT, 0))
            shown.mouse.move(*places[-1])
            tip = shown.locator(".bk-Tooltip img")
            tip.wait_for()
            shown.mouse.move(0, 0)
            tip.wait_for(state="hidden")
        assert np.linalg.norm(np.subtract(*places)) > 20
        shown.mouse.click(*places[-1])
        photo = shown.locator("#chosen img")
        photo.wait_for()
        assert photo.evaluate("(image) => image.naturalWidth") == 64
        shown.select_option("#colouring", "split")
        assert shown.locator("#legend li").count() == 3
        shown.locator("#legend button", has_text="calibration").click()
        alpha = shown.evaluate("Bokeh.documents[0].roots()[0].renderers[0].data_source.data.alpha")
        assert (np.array(alpha) > 0.5).sum() == len(explained.held_out)
        visit.save_screenshot("map")
        assert not visit.scrolls_sideways()
        assert visit.errors == visit.console == []
        assert [url for url in visit.requested if url.startswith("http")] == []


@pytest.mark.browser
def test_the_map_survives_in_the_page_of_a_notebook(page, tmp_path):
    output = nbformat.v4.new_output("display_data", {"text/html": page._repr_html_()})
    cell = nbformat.v4.new_code_cell("map", outputs=[output])
    notebook = tmp_path / "explain.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), notebook)
    with run_browser() as browser:
        visit = Visit(browser, write_page(notebook).as_uri(), "iframe", viewport=PHONE)
        frame = visit.page.frame_locator("iframe")
        frame.locator("#legend button").first.wait_for()
        frame.locator("#legend button", has_text=HOSTILE).wait_for()
        assert frame.locator("canvas").count() > 0
        visit.save_screenshot("map-phone")
        assert visit.errors == []
