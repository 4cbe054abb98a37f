"""A sentence in place of a figure that a network does not allow."""

from matplotlib.figure import Figure

from fieldmark.plotting import create_axes, styled

NO_MAPS = "This network has no feature maps with positions, so there are no channels to show."


@styled
def show_notice(text: str = NO_MAPS) -> Figure:
    """Return a figure that only holds a sentence."""
    figure, ((axes,),) = create_axes(9, 0.6)
    axes.set_axis_off()
    axes.text(0, 0.5, text, va="center")
    return figure
