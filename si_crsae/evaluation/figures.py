"""Figures to draw on, where matplotlib is installed."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(*, figsize: tuple[float, float]) -> "Figure":
    """Return a figure of matplotlib's with nothing on it yet.

    Parameters
    ----------
    figsize : tuple of float
        Width and height in inches.

    Raises
    ------
    ImportError
        Without matplotlib, which comes with ``pip install 'si_crsae[widgets]'``.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures are drawn with matplotlib: pip install 'si_crsae[widgets]'") from error
    return Figure(figsize=figsize, layout="constrained")
