"""An executed notebook as one HTML page, for readers without Jupyter."""

from pathlib import Path

import nbformat
from nbconvert import HTMLExporter

from fieldmark.files import write_text

WIDGET = "application/vnd.jupyter.widget-view+json"
TEMPLATE = """{% extends 'lab/index.html.j2' %}
{% block html_head_js %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block jupyter_widgets %}{% endblock %}
{% block html_head_css %}<style>
main { max-width: 70rem; margin: auto; }
.jp-RenderedMarkdown p { max-width: 46rem; }
.jp-OutputArea-output { overflow-x: auto; }
</style>{% endblock %}
"""  # without the scripts that Jupyter's template loads from other hosts


def write_page(notebook: Path) -> Path:
    """Write an executed notebook without its code beside it, as HTML; return the file.

    The page loads nothing from other hosts. A widget needs a kernel: in its place the page shows
    the picture that is stored with it.
    """
    exporter = HTMLExporter(
        exclude_input=True, exclude_input_prompt=True, exclude_output_prompt=True
    )
    kinds = [kind for kind in exporter.config.NbConvertBase.display_data_priority if kind != WIDGET]
    exporter.config.NbConvertBase.display_data_priority = kinds
    executed = nbformat.read(notebook, as_version=4)
    executed.metadata.pop("widgets", None)  # their state, with a script from another server
    exporter.raw_template = TEMPLATE
    page, _ = exporter.from_notebook_node(executed)
    file = notebook.with_suffix(".html")
    write_text(file, page)
    return file
