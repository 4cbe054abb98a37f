"""Names that parameters had before, and what they are called now."""

from collections.abc import Mapping
from typing import Any

from fieldmark.errors import RecipeError

RENAMED_KEYS = {
    "crop_to_box": "crop",
    "fewest": "min_photos",
    "tune_share": "valid_share",
    "calibrate_share": "calibration_share",
    "accumulate": "accumulation_steps",
    "workers": "num_workers",
    "closest": "min_crop_area",
    "farthest": "min_scale",
    "rotate": "max_rotate",
    "warp": "max_warp",
    "light": "max_lighting",
    "colour": "colour_jitter",
    "erase": "random_erasing",
    "resize_from": "start_size_fraction",
    "teacher_share": "distillation_weight",
    "teacher_own": "auxiliary_weight",
    "frozen_rate": "frozen_learning_rate",
    "head_from": "head_init",
    "frozen_stages": "frozen_layer_groups",
    "rate": "learning_rate",
    "decay": "layer_decay",
    "average": "ema_decay",
    "views": "tta_views",
    "level": "coverage",
    "rejected": "known_rejection_rate",
    "unknown": "ood_score",
    "rehearsal": "open_set_run",
    "stored": "weights_dtype",
}
RENAMED_TEACHER_KEYS = {"classes": "num_classes", "probe_share": "probe_weight"}
RENAMED_VALUES: dict[str, dict[Any, str]] = {
    "crop": {False: "none", True: "boxes"},
    "batch_norm": {"still": "frozen", "learn": "train"},
    "ood_score": {"probability": "msp", "neighbours": "knn"},
    "schedule": {
        "one cycle": "one_cycle",
        "flat cosine": "flat_cosine",
        "warm restarts": "warm_restarts",
    },
}


def rename_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return an older recipe with today's keys and values, without `out`."""
    renamed = {}
    for key, value in values.items():
        key = RENAMED_KEYS.get(key, key)
        if isinstance(value, str | bool):
            value = RENAMED_VALUES.get(key, {}).get(value, value)
        renamed[key] = value
    if isinstance(teacher := renamed.get("teacher"), dict):
        renamed["teacher"] = {RENAMED_TEACHER_KEYS.get(k, k): v for k, v in teacher.items()}
    if "csv" in renamed.get("track", []):  # history.csv has every epoch whatever is tracked
        renamed["track"] = [tracker for tracker in renamed["track"] if tracker != "csv"]
    renamed.pop("out", None)
    return renamed


def refuse_old_names(values: Mapping[str, Any]) -> None:
    """Raise RecipeError, with the new names, if a recipe has old keys or values."""
    changes = []
    for key, value in values.items():
        if key == "teacher" and isinstance(value, dict):
            names = [(old, new) for old, new in RENAMED_TEACHER_KEYS.items() if old in value]
            changes += [f"`{old}` to `{new}`" for old, new in names]
        elif key in RENAMED_KEYS or key in RENAMED_VALUES:
            ((new_key, new_value),) = rename_keys({key: value}).items()
            if (new_key, new_value) != (key, value):
                old_value = str(value).lower() if isinstance(value, bool) else value
                changes.append(f"`{key}: {old_value}` to `{new_key}: {new_value}`")
    if changes:
        raise RecipeError(f"Some names have changed; change {', '.join(changes)}.")
