"""Pictures of a sorting: templates, traces as the sum of their spikes, how probable and how calibrated spikes are."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from si_crsae.evaluation.decomposition import Decomposition

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection

# Similar lightness, neighbors far apart in hue, contrast of 3 to white; repeated where there are more units.
UNIT_COLORS = (
    "#4269d0", "#d57c1c", "#2a9d6f", "#c8377a", "#8a5bd1", "#7a6a14",
    "#1f9bb5", "#d1495b", "#5b8c2a", "#a0522d", "#d36bc6", "#44607a", "#aa9300", "#3a3ea8", "#00806b", "#8f2d56",
)  # fmt: skip
# How a color of the second and third turn differs: towards black or white, by a share.
COLOR_TURNS = ((0, 0.0), (0, 0.2), (0, 0.6))
COLOR_SHIFT = 5
TRACE_COLOR = "#333333"
REFERENCE_COLOR = "#000000"
CONTACT_COLOR = "#d9d9d9"
CELL_FILL = 0.9
MIN_DRAWN = 0.5
PROBABILITY_COLORS = "viridis"


def unit_color(unit_index: int) -> str:
    """Return the color of a unit, the same in every picture.

    After so many units as there are colors they come darker, then much darker, each time in another order: units that
    are numbered along a probe differ from all near ones.
    """
    turn, place = divmod(unit_index, len(UNIT_COLORS))
    color = UNIT_COLORS[(place + COLOR_SHIFT * turn) % len(UNIT_COLORS)]
    target, share = COLOR_TURNS[turn % len(COLOR_TURNS)]
    parts = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(part + share * (target - part)):02x}" for part in parts)


def plot_template(
    axes: "Axes",
    template: Float[np.ndarray, "width channel"],
    locations: Float[np.ndarray, "channel 2"],
    *,
    color: str,
    scale: float,
    title: str = "",
    reference: Float[np.ndarray, "width channel"] | None = None,
) -> None:
    """Draw a template, each channel's waveform at its contact.

    Parameters
    ----------
    axes : Axes
    template : ndarray, shape (width, channel)
        Channels that are zero throughout are not drawn.
    locations : ndarray, shape (channel, 2)
        Contacts (um).
    color : str
    scale : float
        Height of the template that fills the distance of two contacts, in the units of the template.
    title : str, default: ""
    reference : ndarray or None, default: None
        Another template of the same shape, drawn dotted on top on the channels of the first.
    """
    pitch = contact_pitch(locations)
    time = np.linspace(-0.5, 0.5, len(template)) * CELL_FILL * pitch
    axes.plot(*locations.T, linestyle="none", marker="s", markersize=2, color=CONTACT_COLOR, zorder=0)
    for channel in np.flatnonzero(template.any(axis=0)):
        x, y = locations[channel]
        axes.plot(x + time, y + template[:, channel] * pitch / scale, color=color, linewidth=1.4)
        if reference is not None:
            axes.plot(x + time, y + reference[:, channel] * pitch / scale, ":", color=REFERENCE_COLOR, linewidth=0.9)
    axes.set_aspect("equal")
    axes.set_title(title, fontsize="small", color=color)
    axes.set_xlabel("x (µm)")
    axes.set_ylabel("y (µm)")


def contact_pitch(locations: Float[np.ndarray, "channel 2"]) -> float:
    """Return the smallest distance of two contacts (um); 1 for a single one."""
    distances = np.linalg.norm(locations[:, None] - locations[None], axis=2)
    apart = distances[distances > 0]
    return float(apart.min()) if apart.size else 1.0


def plot_traces(
    axes: "Axes",
    traces: Float[np.ndarray, "sample channel"],
    times_ms: Float[np.ndarray, " sample"],
    *,
    spacing: float,
    color: str = TRACE_COLOR,
    title: str = "",
) -> None:
    """Draw traces in rows, the first channel at the bottom.

    Parameters
    ----------
    axes : Axes
    traces : ndarray, shape (sample, channel)
    times_ms : ndarray, shape (sample,)
        In ms.
    spacing : float
        Distance of two rows, in the units of the traces.
    color : str, default: dark grey
    title : str, default: ""
    """
    rows = np.arange(traces.shape[1])
    axes.plot(times_ms, traces + rows * spacing, color=color, linewidth=0.8)
    axes.set_title(title, fontsize="small")
    axes.set_xlabel("time (ms)")
    axes.set_xlim(times_ms[0], times_ms[-1])
    axes.set_yticks(rows * spacing, [str(row) for row in rows])


def plot_decomposition(axes: "tuple[Axes, Axes, Axes]", decomposition: Decomposition, *, spacing: float) -> None:
    """Draw a stretch of traces, the contributions of its spikes colored by unit, and the residual, side by side.

    A spike is drawn where it exceeds half a noise standard deviation.

    Parameters
    ----------
    axes : tuple of three Axes
        They should share both axes.
    decomposition : Decomposition
    spacing : float
        Distance of two channels, in noise standard deviations.
    """
    times_ms = decomposition.times_ms
    observed, explained, remaining = axes
    plot_traces(observed, decomposition.traces, times_ms, spacing=spacing, title="whitened traces")
    baselines = np.zeros_like(decomposition.traces)
    plot_traces(explained, baselines, times_ms, spacing=spacing, color=CONTACT_COLOR, title="= spikes, by unit")
    is_visible = np.abs(decomposition.contributions) >= MIN_DRAWN
    for event, channel in np.argwhere(is_visible.any(axis=1)):
        visible = np.flatnonzero(is_visible[event, :, channel])
        drawn = slice(visible[0], visible[-1] + 1)
        waveform = decomposition.contributions[event, drawn, channel] + channel * spacing
        color = unit_color(int(decomposition.unit_index[event]))
        explained.plot(times_ms[drawn], waveform, color=color, linewidth=1.6)
    plot_traces(remaining, decomposition.residual, times_ms, spacing=spacing, title="+ residual")
    observed.set_ylabel(f"channel ({spacing:g} noise sd from row to row)")


def plot_spike_probabilities(
    axes: "Axes",
    times_s: Float[np.ndarray, " spike"],
    amplitude: Float[np.ndarray, " spike"],
    probability: Float[np.ndarray, " spike"],
    *,
    interval: tuple[Float[np.ndarray, " spike"], Float[np.ndarray, " spike"]] | None = None,
    title: str = "",
) -> "PathCollection":
    """Draw the amplitudes of a unit's spikes over time, colored by their probability.

    Parameters
    ----------
    axes : Axes
    times_s : ndarray, shape (spike,)
        In s.
    amplitude : ndarray, shape (spike,)
        In noise standard deviations.
    probability : ndarray, shape (spike,)
    interval : pair of ndarray, shape (spike,), optional
        Lower and upper ends, drawn as a line through each spike.
    title : str, default: ""

    Returns
    -------
    PathCollection
        For a color bar: ``figure.colorbar(points, label="probability")``.
    """
    if interval is not None:
        axes.vlines(times_s, *interval, color=CONTACT_COLOR, linewidth=0.6, zorder=0)
    improbable_last = np.argsort(-probability, kind="stable")
    points = axes.scatter(
        times_s[improbable_last],
        amplitude[improbable_last],
        c=probability[improbable_last],
        cmap=PROBABILITY_COLORS,
        vmin=0.0,
        vmax=1.0,
        s=6,
    )
    axes.set_xlabel("time (s)")
    axes.set_ylabel("amplitude (noise sd)")
    axes.set_title(title, fontsize="small")
    return points


def plot_reliability(axes: "Axes", table: "pd.DataFrame", *, label: str = "", color: str = TRACE_COLOR) -> None:
    """Draw how often spikes of a probability are right; the closer to the diagonal, the better.

    Parameters
    ----------
    axes : Axes
    table : DataFrame
        What `si_crsae.evaluation.reliability_table` returns. The area of a point grows with the spikes behind it.
    label : str, default: ""
        For a legend.
    color : str, default: dark grey
    """
    share = np.asarray(table["count"], dtype=float) / max(float(np.sum(table["count"])), 1.0)
    axes.plot([0, 1], [0, 1], color=CONTACT_COLOR, linestyle=":", zorder=0)
    axes.plot(table["mean"], table["right"], color=color, linewidth=1.0, label=label or None)
    axes.scatter(table["mean"], table["right"], s=10 + 190 * share, color=color, zorder=2)
    axes.set_xlabel("probability")
    axes.set_ylabel("share of right spikes")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
