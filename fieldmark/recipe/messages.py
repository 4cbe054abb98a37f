"""Turn pydantic's errors into a sentence that says what is wrong and what to do."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from fieldmark.errors import RecipeError

Model = TypeVar("Model", bound=BaseModel)
EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "indented lines of `key: value`",
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": "a list in brackets, as in [tensorboard]",
    "string_type": "text",
    "too_long": "three numbers, one a channel",
    "too_short": "three numbers, one a channel",
}


def validate(model: type[Model], values: Mapping[str, Any], name: str = "") -> Model:
    """Return a model of the values; raises RecipeError for the first wrong one.

    `name` is the parameter that holds the values, where they are not the recipe itself.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        prefix = f"`{name}`: " if name else ""
        raise RecipeError(prefix + explain(error.errors()[0], model)) from error


def explain(error: Any, model: type[BaseModel]) -> str:
    """Return one of pydantic's errors as a sentence that names the key."""
    key, value, kind = error["loc"][0], error["input"], error["type"]
    if kind == "extra_forbidden":
        return f"`{key}` is not a parameter.{suggest(key, model.model_fields)}"
    if kind == "missing":
        return f"`{key}` is missing."
    if kind in ("greater_than_equal", "less_than_equal"):
        expected = describe_values(model.model_json_schema()["properties"][key])
    else:
        expected = EXPECTED.get(kind) or error.get("ctx", {}).get("expected", error["msg"])
    return f"`{key}: {value}` must be {expected}.{explain_number(kind, value)}"


def explain_number(kind: str, value: Any) -> str:
    """Return a hint for a number that YAML reads as text, such as 1e-3; otherwise nothing."""
    try:
        number = float(value) if kind == "float_type" else None
    except (TypeError, ValueError):
        number = None
    return "" if number is None else f" YAML reads {value} as text; write {number}."


def describe_values(schema: Mapping[str, Any]) -> str:
    """Return the values that a parameter's JSON schema allows, as text."""
    if "minimum" in schema:
        return f"from {schema['minimum']:,} to {schema['maximum']:,}"
    choices = schema.get("enum") or schema.get("items", {}).get("enum") or []
    return ", ".join(f"`{choice}`" for choice in choices)


def suggest(word: str, choices: Iterable[str]) -> str:
    """Return a question that names similar words; empty if there are none."""
    matches = difflib.get_close_matches(str(word), list(choices), 3, 0.5)
    return f" Did you mean {' or '.join(matches)}?" if matches else ""
