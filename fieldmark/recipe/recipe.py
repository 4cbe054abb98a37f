"""A recipe: a YAML file, or a notebook's cell, of the parameters of one training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import model_validator

from fieldmark.errors import RecipeError
from fieldmark.recipe.checks import check_consistency
from fieldmark.recipe.messages import describe_values, suggest, validate
from fieldmark.recipe.parameters import SCHEMA, Parameters
from fieldmark.recipe.renamed import refuse_old_names


class Recipe(Parameters):
    """Validated parameters. `model_dump` leaves `out` out: it is not a property of the model."""

    @model_validator(mode="after")
    def check(self) -> Self:
        """Raise RecipeError unless the parameters fit each other."""
        check_consistency(self)
        return self

    @classmethod
    def load(cls, path: Path, overrides: Mapping[str, str] | None = None) -> Self:
        """Load a YAML file; `overrides` are values in YAML that replace those of the file.

        Raises RecipeError for a missing file, and for a wrong key or value.
        """
        if not path.is_file():
            names = ", ".join(map(str, sorted(Path("recipes").glob("*.yaml"))))
            raise RecipeError(f"There is no recipe {path}. There are: {names}.")
        values = parse_yaml(path.read_text(encoding="utf-8"), str(path))
        if not isinstance(values or {}, dict):
            raise RecipeError(f"{path}: expected lines of `key: value`.")
        replaced = {key: parse_yaml(text, key) for key, text in (overrides or {}).items()}
        values = (values or {}) | replaced
        if "out" in values:
            raise RecipeError(f"{path}: remove `out`; `fieldmark train` writes into runs/NAME.")
        try:
            return cls.parse(values)
        except RecipeError as error:
            raise RecipeError(f"{path}: {error}") from error

    @classmethod
    def from_variables(cls, variables: Mapping[str, Any]) -> Self:
        """Validate the `globals()` of a notebook whose cell annotates every parameter.

        Raises RecipeError.
        """
        annotated = variables.get("__annotations__", {}).keys()
        values = {key: variables[key] for key in cls.model_fields if key in variables}
        try:
            refuse_old_names({key: variables[key] for key in annotated & variables.keys()})
            recipe = cls.parse(values)
        except RecipeError as error:
            raise RecipeError(f"The parameters cell: {error}") from error
        if missing := [key for key in cls.model_fields if key not in values]:
            raise RecipeError(f"The parameters cell needs a line for `{'`, `'.join(missing)}`.")
        if unknown := sorted(annotated - cls.model_fields.keys()):
            raise RecipeError(
                f"`{unknown[0]}` is not a parameter.{suggest(unknown[0], cls.model_fields)} "
                "Remove its line and restart the kernel."
            )
        return recipe

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Validate values; raises RecipeError for the first wrong one."""
        refuse_old_names(values)
        return validate(cls, values)

    def training_keys(self) -> dict[str, Any]:
        """Return the parameters that need another training when they change."""
        return {key: value for key, value in self.model_dump().items() if SCHEMA[key]["retrain"]}

    def group(self, name: str) -> dict[str, Any]:
        """Return the parameters of a group."""
        values = self.model_dump().items()
        return {key: value for key, value in values if SCHEMA[key]["group"] == name}

    @classmethod
    def template(cls) -> str:
        """Return a recipe of all defaults, in YAML with the help as comments."""
        lines = []
        for key in cls().model_dump():
            schema = SCHEMA[key]
            heading = f"# {schema['group']}"
            lines += [] if heading in lines else [heading]
            lines.append(f"{key}: {to_yaml(schema['default'])}  # {schema['description']}")
        return "\n".join(lines)

    @classmethod
    def markdown_table(cls) -> str:
        """Return the table of all parameters in docs/training.md."""
        lines = ["| group | parameter | default | values | meaning | retrain |", "|---" * 6 + "|"]
        previous = None
        for key, schema in SCHEMA.items():
            group = "" if schema["group"] == previous else schema["group"]
            previous = schema["group"]
            cells = (group, f"`{key}`", f"`{to_yaml(schema['default'])}`", describe_values(schema))
            retrain = "yes" if schema["retrain"] else "no"
            lines.append(f"| {' | '.join((*cells, schema['description'], retrain))} |")
        return "\n".join(lines)


def validate_recipe(values: Mapping[str, Any]) -> Recipe:
    """Return the recipe of some values; raises RecipeError for the first wrong one."""
    return Recipe.parse(values)


def to_yaml(value: Any) -> str:
    """Return a plain value in YAML, on one line."""
    return yaml.safe_dump(value, default_flow_style=True).split("\n")[0]


def parse_yaml(text: str, place: str) -> Any:
    """Return the value of a YAML text; raises RecipeError, which names the place."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{place} is not YAML: {error}") from error
