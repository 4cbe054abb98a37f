"""The recipe of a finder, its notebook and its document are one schema."""

import ast
import re

import nbformat
import pytest

from fieldmark.errors import RecipeError
from fieldmark.finder.finder_run import FinderRun
from fieldmark.recipe import FinderRecipe
from tests.conftest import ROOT

DOCUMENT = (ROOT / "docs/finder.md").read_text(encoding="utf-8")


def parameters_cell() -> str:
    cells = nbformat.read(ROOT / "finder.ipynb", 4).cells
    (cell,) = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    return cell.source


def test_the_parameters_cell_of_the_notebook_is_the_schema():
    lines = [node for node in ast.parse(parameters_cell()).body if isinstance(node, ast.AnnAssign)]
    cell = {ast.unparse(line.target): ast.literal_eval(line.value) for line in lines}
    fields = FinderRecipe.model_fields
    assert list(cell.items()) == [(key, field.default) for key, field in fields.items()]
    comments = [line.split("  # ")[1] for line in parameters_cell().splitlines() if "  # " in line]
    assert comments == [field.description for field in fields.values()]


def test_a_wrong_line_of_the_parameters_cell_is_reported():
    exec(parameters_cell().replace("scenes: int", "scnes: int"), variables := {})  # noqa: S102
    with pytest.raises(RecipeError, match="`scenes`"):
        FinderRecipe.from_variables(variables)


def test_the_document_has_the_table_of_the_schema_and_every_file_of_a_run():
    table = re.search(r"<!-- parameters.*?-->\n\n(.*?)\n\n", DOCUMENT, re.DOTALL)[1]
    assert table == FinderRecipe.markdown_table()
    files = [value.name for key, value in vars(FinderRun("")).items() if key.endswith("_file")]
    assert [name for name in files if f"`{name}`" not in DOCUMENT] == []


def test_a_template_is_a_valid_recipe_of_all_defaults(tmp_path):
    path = tmp_path / "template.yaml"
    path.write_text(FinderRecipe.template())
    assert FinderRecipe.load(path) == FinderRecipe()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"whole_photos": "birds"}, "`whole_photos` needs `boxes` or a `teacher`"),
        ({"boxes": "boxes.csv"}, "`boxes` needs `whole_photos`"),
        ({"arch": "mobilenet"}, "`mobilenet`"),
        ({"found_share": 1.0}, r"`found_share: 1\.0` must be from 0\.5 to 0\.999"),
        ({"learning_rat": 1.0}, "Did you mean learning_rate"),
    ],
)
def test_a_wrong_recipe_is_reported(values, message):
    with pytest.raises(RecipeError, match=message):
        FinderRecipe.parse(values)
