"""A recipe: the parameters of one training, validated before anything runs."""

from fieldmark.recipe.explain_recipe import ExplainRecipe
from fieldmark.recipe.finder_recipe import FinderRecipe
from fieldmark.recipe.recipe import Recipe, validate_recipe
from fieldmark.recipe.renamed import RENAMED_KEYS, RENAMED_VALUES, rename_keys

__all__ = [
    "RENAMED_KEYS",
    "RENAMED_VALUES",
    "ExplainRecipe",
    "FinderRecipe",
    "Recipe",
    "rename_keys",
    "validate_recipe",
]
