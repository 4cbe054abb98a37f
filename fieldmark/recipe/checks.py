"""What a schema cannot check: several parameters together, timm's names, installed packages."""

import importlib.util
from collections.abc import Sequence

from fieldmark.errors import RecipeError
from fieldmark.recipe.messages import suggest, validate
from fieldmark.recipe.parameters import ArchOptions, Parameters, TeacherParameters


def check_consistency(recipe: Parameters) -> None:
    """Raise RecipeError unless the parameters fit each other and what is installed."""
    if recipe.mixup and recipe.cutmix:
        raise RecipeError("`mixup` and `cutmix` exclude each other; set one of them to 0.")
    if not recipe.frozen_epochs + recipe.epochs:
        raise RecipeError("`frozen_epochs` and `epochs` are both 0: nothing would be learned.")
    validate(ArchOptions, recipe.arch_options, "arch_options")
    if taken := sorted(Parameters.model_fields.keys() & recipe.arch_options.keys()):
        raise RecipeError(f"`arch_options` cannot hold `{taken[0]}`, which is a parameter itself.")
    check_arch(recipe.arch)
    if recipe.teacher:
        check_arch(validate(TeacherParameters, recipe.teacher, "teacher").arch)
    if recipe.start_size_fraction < 1 or recipe.train_size:
        check_any_size(recipe.arch)
    check_trackers(recipe.track)


def check_arch(arch: str) -> None:
    """Raise RecipeError unless timm has an architecture."""
    import timm  # loads torch, which only this check needs

    if not timm.is_model(arch):
        raise RecipeError(f"timm has no architecture `{arch}`.{suggest(arch, timm.list_models())}")


def check_any_size(arch: str) -> None:
    """Raise RecipeError if an architecture takes photos of one size only."""
    import timm

    config = timm.get_pretrained_cfg(arch)
    if config and config.fixed_input_size:
        raise RecipeError(
            f"`{arch}` takes photos of one size only; leave `train_size` and "
            "`start_size_fraction` out."
        )


def check_trackers(track: Sequence[str]) -> None:
    """Raise RecipeError for trackers that are not installed; each has its package's name."""
    missing = [name for name in track if importlib.util.find_spec(name) is None]
    if missing:
        raise RecipeError(
            f"`track` needs {' and '.join(missing)}, which is not installed. Install it: "
            '.venv/bin/pip install -e ".[track]"'
        )
