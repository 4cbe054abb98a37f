"""Start a kernel and let it run the notebook, before anybody comes."""

import os

from voila.notebook_renderer import NotebookRenderer
from voila.utils import get_page_config


async def heat(kernels) -> tuple[str, str]:
    """Return the id of a new kernel of Voila's `kernels`, and the page that it made.

    Raises what went wrong; nothing of the kernel is left then.
    """
    kernel_id = kernels.new_kernel_id()
    notebook = renderer(kernels.parent)
    await notebook.initialize()
    name = notebook.notebook.metadata.kernelspec.name
    try:
        await kernels.start_kernel(kernel_id=kernel_id, kernel_name=name, path="")
        kernel = kernels.get_kernel(kernel_id)
        page = await notebook.generate_content_str(kernel_id, kernel)
        if not await kernel.is_alive():  # Voila made its death a part of the page
            raise RuntimeError(f"Kernel {kernel_id} died while it ran the notebook")
    except BaseException:
        if kernel_id in kernels:
            await kernels.shutdown_kernel(kernel_id, now=True)
        raise
    return kernel_id, page


def renderer(voila) -> NotebookRenderer:
    """Return what turns the notebook of a running Voila into a page."""
    known = {"base_url": voila.base_url, "voila_configuration": voila.voila_configuration}
    return NotebookRenderer(
        **known,
        traitlet_config=voila.config,
        notebook_path=os.path.relpath(voila.notebook_path, voila.root_dir),
        template_paths=voila.template_paths,
        config_manager=voila.config_manager,
        contents_manager=voila.contents_manager,
        kernel_spec_manager=voila.kernel_spec_manager,
        page_config=get_page_config(**known, settings=voila.app.settings, log=voila.log),
    )
