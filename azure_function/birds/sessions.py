"""Load a model file's graph, to be computed by all threads or by one, and check its outputs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime

from . import model_file, process
from .model_file import ModelError

Session = onnxruntime.InferenceSession


class Runtime(Protocol):
    """What computes a graph: onnxruntime's session, or another runtime in its place."""

    def run(self, names: Sequence[str], inputs: dict[str, np.ndarray], /) -> Sequence[Any]:
        """Return the outputs of these names, arrays, for inputs by name."""
        ...


def thread_modes(runtimes: tuple[Runtime, Runtime]) -> list[bool]:
    """Return the values of `single_thread` for which different runtimes compute a graph."""
    return [False] if runtimes[0] is runtimes[1] else [False, True]


@contextmanager
def load_errors(path: Path) -> Iterator[None]:
    """Turn whatever a model file that cannot be loaded raises into a ModelError."""
    try:
        yield
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(
            f"{path.name} cannot be read ({error.strerror}). Give this user read access."
        ) from error
    except Exception as error:  # onnxruntime's own errors share no base class
        raise ModelError(
            f"{path.name} is damaged or not a Fieldmark model. Export it again."
        ) from error


def load_sessions(path: Path, threads: int) -> tuple[Session, Session]:
    """Load a graph to be computed by `threads`, and by one for when several photos are processed.

    Raises ModelError for a file that is incomplete, and whatever onnxruntime raises.
    """
    model_file.check_bytes(path)
    session = create_session(path, threads)
    single_thread_session = create_session(path, 1) if threads > 1 else session
    process.release_freed_memory()
    return session, single_thread_session


@cache
def share_arena() -> None:
    """Let all sessions of this process take their memory from one arena.

    With one for each session, the memory that all of them keep for the next photo adds up: 90 MB
    more were measured for two models with two sessions each.
    """
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu",
        onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR,
        0,
        onnxruntime.OrtMemType.DEFAULT,
    )
    defaults = {"max_mem": 0, "arena_extend_strategy": 0}
    defaults |= {"initial_chunk_size_bytes": -1, "max_dead_bytes_per_chunk": -1}
    onnxruntime.create_and_register_allocator(memory, onnxruntime.OrtArenaCfg(defaults))


def create_session(path: Path, threads: int) -> Session:
    """Load a graph to be computed by `threads`, which spin only while it is being computed."""
    share_arena()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are reported as ModelError
    options.intra_op_num_threads = threads
    options.enable_mem_pattern = False  # it keeps a block of memory for every batch size
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.add_session_config_entry("session.use_env_allocators", "1")
    return onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"], enable_fallback=False
    )


def check_recorded(
    outputs: Mapping[str, np.ndarray], recorded: dict, tolerances: Mapping[str, float]
) -> None:
    """Raise ModelError unless outputs [N, ...] for the drawn photo are those that a card records.

    `tolerances` has the largest difference of each output.
    """
    for name, computed in outputs.items():
        expected = np.asarray(recorded.get(name))
        if computed.shape[1:] != expected.shape or not np.allclose(
            computed, expected, atol=tolerances[name]
        ):
            raise ModelError(
                f"This model's {name} for its drawn photo differs from the one in its card: "
                "the file is damaged, or this onnxruntime computes it wrongly. Export it again."
            )
