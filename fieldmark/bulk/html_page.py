"""Write pages from templates."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from fieldmark.files import write_text


def format_percent(share: float) -> str:
    """Return a share in per cent."""
    return f"{100 * share:.{0 if share > 0.1 else 1}f} %"


def write_template(file: Path, template: Path, **values: Any) -> None:
    """Write an HTML file; all values are escaped, and a missing one is an error.

    Templates have the filters `number` (1,234) and `percent`.
    """
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": "{:,}".format, "percent": format_percent}
    write_text(file, environment.get_template(template.name).render(values))
