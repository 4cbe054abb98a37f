"""Which of the processes that train together this one is, by the variables that torchrun sets."""

import os
from collections.abc import Mapping
from typing import NamedTuple

from fieldmark.errors import TrainingError

VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class Ranks(NamedTuple):
    """The number of this process among all, from 0, and among those of its machine.

    Process 0 alone writes the run.
    """

    rank: int = 0
    local_rank: int = 0
    size: int = 1


def read_ranks(environment: Mapping[str, str] = os.environ) -> Ranks:
    """Return the ranks that a launcher has set, those of a single process without one.

    Raises TrainingError if they contradict each other.
    """
    values = [
        environment.get(name, default) for name, default in zip(VARIABLES, "001", strict=False)
    ]
    try:
        ranks = Ranks(*map(int, values))
    except ValueError as error:
        raise TrainingError(f"{', '.join(VARIABLES[:3])} must be numbers: {error}.") from error
    if not 0 <= ranks.rank < ranks.size or not 0 <= ranks.local_rank < ranks.size:
        raise TrainingError(
            f"RANK={ranks.rank} and LOCAL_RANK={ranks.local_rank} must be from 0 to "
            f"{ranks.size - 1} where WORLD_SIZE={ranks.size}. Let torchrun set them, or unset them."
        )
    return ranks


def check_single_process(command: str) -> None:
    """Raise TrainingError if a launcher has started several processes of a command that is one."""
    if read_ranks().size > 1:
        raise TrainingError(
            f"`fieldmark {command}` runs in one process, and {VARIABLES[2]} asks for several. "
            "Start it without torchrun; only `fieldmark train` divides its work."
        )
