"""Start a kernel and run the notebook in it, before a visitor needs it."""

import os

from json_log import open_kernel_output
from voila.notebook_renderer import NotebookRenderer
from voila.utils import get_page_config


async def start_kernel(kernel_manager) -> tuple[str, str]:
    """Return the id of a new kernel and the HTML page that its notebook rendered.

    Shuts the kernel down again and raises if anything fails.
    """
    kernel_id, voila = kernel_manager.new_kernel_id(), kernel_manager.parent
    shared = {"base_url": voila.base_url, "voila_configuration": voila.voila_configuration}
    renderer = NotebookRenderer(
        **shared,
        traitlet_config=voila.config,
        notebook_path=os.path.relpath(voila.notebook_path, voila.root_dir),
        template_paths=voila.template_paths,
        config_manager=voila.config_manager,
        contents_manager=voila.contents_manager,
        kernel_spec_manager=voila.kernel_spec_manager,
        page_config=get_page_config(**shared, settings=voila.app.settings, log=voila.log),
    )
    await renderer.initialize()
    kernel_name = renderer.notebook.metadata.kernelspec.name
    try:
        output = open_kernel_output(kernel_id)
        try:
            await kernel_manager.start_kernel(
                kernel_id=kernel_id, kernel_name=kernel_name, path="", stdout=output, stderr=output
            )
        finally:
            os.close(output)
        kernel = kernel_manager.get_kernel(kernel_id)
        page = await renderer.generate_content_str(kernel_id, kernel)
        if not await kernel.is_alive():  # Voila renders a page for a dead kernel too
            raise RuntimeError(f"Kernel {kernel_id} died while it ran the notebook")
    except BaseException:
        if kernel_id in kernel_manager:
            await kernel_manager.shutdown_kernel(kernel_id, now=True)
        raise
    return kernel_id, page
