"""What recipes of every kind have in common: a YAML file or a notebook's cell of parameters."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field

from fieldmark.errors import RecipeError
from fieldmark.recipe.messages import describe_values, suggest, validate

MANY = 1_000_000
STRICT = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


def parameter(
    group: str,
    default: Any,
    help: str,
    low: float | None = None,
    high: float | None = None,
    *,
    retrain: bool = True,
    exclude: bool = False,
) -> Any:
    """Return a field; `retrain` says whether another value needs another training."""
    return Field(
        default,
        description=help,
        ge=low,
        le=high,
        exclude=exclude,
        json_schema_extra={"group": group, "retrain": retrain},
    )


class RecipeFile(BaseModel):
    """Validated parameters, whose fields are made by `parameter`."""

    model_config = STRICT | ConfigDict(extra="forbid")
    command: ClassVar[str] = "train"  # which runs it

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
            raise RecipeError(
                f"{path}: remove `out`; `fieldmark {cls.command}` writes into runs/NAME."
            )
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
            cls.refuse_old_names({key: variables[key] for key in annotated & variables.keys()})
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
        cls.refuse_old_names(values)
        return validate(cls, values)

    @classmethod
    def refuse_old_names(cls, values: Mapping[str, Any]) -> None:
        """Raise RecipeError for a key or value whose name has changed."""

    @classmethod
    def schema_of(cls) -> dict[str, Any]:
        """Return the JSON schema of each parameter."""
        return cls.model_json_schema()["properties"]

    def group(self, name: str) -> dict[str, Any]:
        """Return the parameters of a group."""
        schema = self.schema_of()
        values = self.model_dump().items()
        return {key: value for key, value in values if schema[key]["group"] == name}

    @classmethod
    def template(cls) -> str:
        """Return a recipe of all defaults, in YAML with the help as comments."""
        lines = []
        for key, schema in cls.schema_of().items():
            if key not in cls().model_dump():
                continue
            heading = f"# {schema['group']}"
            lines += [] if heading in lines else [heading]
            lines.append(f"{key}: {to_yaml(schema['default'])}  # {schema['description']}")
        return "\n".join(lines)

    @classmethod
    def markdown_table(cls) -> str:
        """Return the table of all parameters in docs/training.md."""
        lines = ["| group | parameter | default | values | meaning | retrain |", "|---" * 6 + "|"]
        previous = None
        for key, schema in cls.schema_of().items():
            group = "" if schema["group"] == previous else schema["group"]
            previous = schema["group"]
            cells = (group, f"`{key}`", f"`{to_yaml(schema['default'])}`", describe_values(schema))
            retrain = "yes" if schema["retrain"] else "no"
            lines.append(f"| {' | '.join((*cells, schema['description'], retrain))} |")
        return "\n".join(lines)


def to_yaml(value: Any) -> str:
    """Return a plain value in YAML, on one line."""
    return yaml.safe_dump(value, default_flow_style=True).split("\n")[0]


def parse_yaml(text: str, place: str) -> Any:
    """Return the value of a YAML text; raises RecipeError, which names the place."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{place} is not YAML: {error}") from error
