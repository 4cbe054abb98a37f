"""How `fieldmark train` runs its notebook: where papermill writes it, and how its kernel ends."""

import asyncio
import signal
from pathlib import Path

from jupyter_client.manager import AsyncKernelManager
from traitlets import default

from fieldmark.files import write_text

PATIENCE = 10  # seconds for a killed kernel to disappear


class KernelManager(AsyncKernelManager):
    """Encrypt what a kernel sends, and kill a kernel that is not needed any more.

    jupyter_client interrupts a kernel before it ends it, which ipykernel logs as an error, and then
    waits for it and not for its workers, which can keep the output of the command open.
    """

    @default("transport_encryption")
    def _encrypt(self) -> str:
        return "auto"

    async def shutdown_kernel(self, now: bool = False, restart: bool = False) -> None:
        """Kill the kernel with all its processes, and wait for its end a limited time."""
        self.shutting_down = True
        if self.has_kernel and self.provisioner:
            await self.signal_kernel(getattr(signal, "SIGKILL", signal.SIGTERM))
            try:
                await asyncio.wait_for(self.provisioner.wait(), PATIENCE)
            except TimeoutError:
                self.log.warning("The kernel does not end; it is left to the system.")
        await self.cleanup_resources(restart)


class NotebookFile:
    """The executed notebook, for papermill.

    It is in `unfinished` until the run is finished there, and then in the run's `folder`.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def write(self, content: str, path: str) -> None:
        """Write the notebook atomically, where the files of the run are now."""
        file = Path(path)
        write_text(file if file.parent.is_dir() else self.folder / file.name, content)

    def pretty_path(self, path: str) -> str:
        """Return the path as papermill reports it."""
        return path
