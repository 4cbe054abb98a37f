"""A recipe: a YAML file, or a notebook's cell, of the parameters of one training."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import model_validator

from fieldmark.recipe.checks import check_consistency
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
    def refuse_old_names(cls, values: Mapping[str, Any]) -> None:
        """Raise RecipeError, with the new names, for keys and values of before schema 2."""
        refuse_old_names(values)

    def training_keys(self) -> dict[str, Any]:
        """Return the parameters that need another training when they change."""
        return {key: value for key, value in self.model_dump().items() if SCHEMA[key]["retrain"]}


def validate_recipe(values: Mapping[str, Any]) -> Recipe:
    """Return the recipe of some values; raises RecipeError for the first wrong one."""
    return Recipe.parse(values)
