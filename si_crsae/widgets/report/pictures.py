"""Pictures of a report, as SVG that stands in its page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from si_crsae.evaluation.plots import CELL_FILL
from si_crsae.widgets.view_models.templates import Waveforms
from si_crsae.widgets.view_models.unit_activity import Correlogram, ThinnedAmplitudes
from si_crsae.widgets.view_models.unit_figures import UnitOverview

MARGIN, BOTTOM = 34.0, 26.0
MAX_CHANNELS = 12
"""Channels on which a unit is drawn: those where it is largest."""
WAVEFORM_ROWS = 1.3
IMPROBABLE = 0.5
SHADES = (0.15, 0.35, 0.65, 1.0)
REFRACTORY_COLOR, DOUBTFUL_COLOR, CONTACT_COLOR, LINE_COLOR = "#d1495b", "#b00020", "#bbbbbb", "#333333"


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """An empty picture with two axes, and how numbers become places in it."""

    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]
    x_label: str = ""
    y_label: str = ""

    def at_x(self, values: np.ndarray) -> np.ndarray:
        """Return places across."""
        span = max(self.x[1] - self.x[0], 1e-12)
        return MARGIN + (np.asarray(values, float) - self.x[0]) / span * (self.width - MARGIN - 4)

    def at_y(self, values: np.ndarray) -> np.ndarray:
        """Return places down."""
        span = max(self.y[1] - self.y[0], 1e-12)
        return self.height - BOTTOM - (np.asarray(values, float) - self.y[0]) / span * (self.height - BOTTOM - 6)

    def svg(self, content: str, title: str) -> str:
        """Return the picture; its title is what is read aloud."""
        left, right, bottom = MARGIN, self.width - 4, self.height - BOTTOM
        texts = [
            (left, bottom + 11, "start", f"{self.x[0]:.4g}"),
            (right, bottom + 11, "end", f"{self.x[1]:.4g}"),
            ((left + right) / 2, bottom + 22, "middle", self.x_label),
            (left - 3, bottom, "end", f"{self.y[0]:.3g}"),
            (left - 3, 13, "end", f"{self.y[1]:.3g}"),
        ]
        words = "".join(
            f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{text}</text>' for x, y, anchor, text in texts
        )
        middle = (6 + bottom) / 2
        words += f'<text transform="translate(10 {middle:g}) rotate(-90)" text-anchor="middle">{self.y_label}</text>'
        frame = f'<path d="M{left:g} 6V{bottom:g}H{right:g}" fill="none" stroke="{LINE_COLOR}" stroke-width="0.7"/>'
        return _svg(self.width, self.height, content + frame + words, title)


def _svg(width: float, height: float, content: str, title: str) -> str:
    return (
        f'<svg role="img" aria-label="{title}" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}">{content}</svg>'
    )


def _points(x: np.ndarray, y: np.ndarray) -> str:
    return " ".join(f"{across:.1f},{down:.1f}" for across, down in zip(x, y, strict=True))


def waveform_picture(waveforms: Waveforms, overview: UnitOverview, *, color: str, title: str) -> str:
    """Return a unit's waveforms at its contacts, each with the peak at the contact.

    Parameters
    ----------
    waveforms : Waveforms
        Of one unit.
    overview : UnitOverview
    color : str
    title : str
    """
    width, height = 190.0, 170.0
    if len(waveforms.values) == 0:
        return _svg(width, height, "", f"{title}: no waveforms")
    heights = np.abs(waveforms.values).max(axis=1)
    shown = np.sort(np.argsort(-heights, kind="stable")[:MAX_CHANNELS])
    across, along = overview.pitch
    cells = overview.locations[waveforms.channel[shown]] / (across, along)
    cells = (cells - cells.min(axis=0)) * (1, -1)
    cells[:, 1] -= cells[:, 1].min()
    num_columns, num_rows = cells.max(axis=0) + 1
    cell_width, cell_height = (width - 8) / num_columns, (height - 24) / (num_rows + WAVEFORM_ROWS)
    scale = WAVEFORM_ROWS * cell_height / float(heights.max())
    parts = []
    for (column, row), index in zip(cells, shown, strict=True):
        x, y = 4 + (column + 0.5) * cell_width, 6 + (row + WAVEFORM_ROWS / 2 + 0.5) * cell_height
        values = waveforms.values[index]
        time = (np.arange(values.size) - waveforms.num_before[index]) / values.size
        parts.append(f'<rect x="{x - 1.5:.1f}" y="{y - 1.5:.1f}" width="3" height="3" fill="{CONTACT_COLOR}"/>')
        points = _points(x + time * CELL_FILL * cell_width, y - values * scale)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.2"/>')
    caption = f"tallest: {heights.max():.3g} {waveforms.unit_of_measurement}"
    parts.append(f'<text x="{width / 2:g}" y="{height - 4:g}" text-anchor="middle">{caption}</text>')
    return _svg(width, height, "".join(parts), f"{title}, {caption}")


def correlogram_picture(one: Correlogram, *, refractory_ms: float, color: str, title: str) -> str:
    """Return an autocorrelogram with the refractory period shaded."""
    highest = max(float(one.counts.max(initial=0)), 1.0)
    panel = Panel(
        width=230, height=170, x=(float(one.edges_ms[0]), float(one.edges_ms[-1])), y=(0, highest),
        x_label="lag (ms)", y_label="pairs of spikes",
    )  # fmt: skip
    left, right = panel.at_x(np.array([-refractory_ms, refractory_ms]))
    top, bottom = panel.at_y(np.array([highest, 0]))
    shading = (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" '
        f'fill="{REFRACTORY_COLOR}" opacity="0.2"/>'
    )
    edges, tops = panel.at_x(one.edges_ms), panel.at_y(one.counts)
    steps = "".join(f"L{a:.1f} {t:.1f}H{b:.1f}" for a, b, t in zip(edges[:-1], edges[1:], tops, strict=True))
    bars = f'<path d="M{edges[0]:.1f} {bottom:.1f}{steps}V{bottom:.1f}Z" fill="{color}"/>'
    return panel.svg(bars + shading, title)


def amplitude_picture(parts: Sequence[ThinnedAmplitudes], lengths_s: Sequence[float], *, color: str, title: str) -> str:
    """Return amplitudes over time, segment after segment; improbable spikes are red crosses.

    Parameters
    ----------
    parts : sequence of ThinnedAmplitudes
        Of one unit, one for each segment.
    lengths_s : sequence of float
        Lengths of the segments (s).
    color : str
    title : str
    """
    sizes = np.concatenate([part.amplitude for part in parts] + [np.array([0.9, 1.1])])
    total_s, begins = float(sum(lengths_s)), np.concatenate([[0.0], np.cumsum(lengths_s)])
    panel = Panel(
        width=330, height=170, x=(0, total_s), y=(float(sizes.min()), float(sizes.max())),
        x_label="time (s)", y_label="amplitude (of typical)",
    )  # fmt: skip
    drawn = "".join(_dots(panel, part, begin, color) for part, begin in zip(parts, begins[:-1], strict=True))
    borders = panel.at_x(begins[1:-1])
    drawn += "".join(f'<path d="M{x:.1f} 6V{panel.height - BOTTOM:g}" stroke="{CONTACT_COLOR}"/>' for x in borders)
    return panel.svg(drawn, title)


def _dots(panel: Panel, part: ThinnedAmplitudes, begin_s: float, color: str) -> str:
    x, y = panel.at_x(part.time_s + begin_s), panel.at_y(part.amplitude)
    doubtful = np.zeros(x.size, bool) if part.probability is None else part.probability < IMPROBABLE
    dots = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(x[~doubtful], y[~doubtful], strict=True))
    crosses = "".join(f"M{a - 2:.1f} {b - 2:.1f}l4 4m0-4l-4 4" for a, b in zip(x[doubtful], y[doubtful], strict=True))
    return (
        f'<path d="{dots}" stroke="{color}" stroke-width="2" stroke-linecap="round"/>'
        f'<path d="{crosses}" stroke="{DOUBTFUL_COLOR}" stroke-width="0.8" fill="none"/>'
    )


def activity_picture(counts: Int[np.ndarray, "unit bin"], total_s: float, *, title: str) -> str:
    """Return how much each unit fires over time, one row each, the deepest at the bottom; darker is more."""
    num_units, num_bins = counts.shape
    panel = Panel(
        width=760, height=min(max(6.0 * num_units, 90.0), 420.0) + BOTTOM, x=(0, total_s), y=(0, num_units),
        x_label="time (s)", y_label="units by depth",
    )  # fmt: skip
    edges = panel.at_x(np.linspace(0, total_s, num_bins + 1))
    rows = panel.at_y(np.arange(num_units) + 0.5)
    thickness = max(float(panel.at_y(np.array([0.0, 1.0])) @ (1, -1)) - 0.5, 0.5)
    shares = counts / np.maximum(counts.max(axis=1, keepdims=True), 1)
    drawn = "".join(_cells(shares, lower, upper, edges, rows, thickness) for lower, upper in _steps())
    return panel.svg(drawn, title)


def _steps() -> Iterator[tuple[float, float]]:
    yield from zip((0.0, *SHADES[:-1]), SHADES, strict=True)


def _cells(
    shares: Float[np.ndarray, "unit bin"], lower: float, upper: float, edges: np.ndarray, rows: np.ndarray, width: float
) -> str:
    """Return the cells of one shade as one path."""
    units, bins = np.nonzero((shares > lower) & (shares <= upper))
    step = edges[1] - edges[0]
    path = "".join(f"M{edges[b]:.1f} {rows[u]:.1f}h{step:.1f}" for u, b in zip(units, bins, strict=True))
    return f'<path d="{path}" stroke="#08306b" stroke-opacity="{upper:g}" stroke-width="{width:.1f}"/>'


def course_picture(values: Sequence[np.ndarray], x: np.ndarray, *, x_label: str, y_label: str, title: str) -> str:
    """Return curves over common places; the middle one is thick."""
    whole = np.concatenate([np.asarray(curve, float) for curve in values])
    whole = whole[np.isfinite(whole)]
    lowest, highest = (float(whole.min()), float(whole.max())) if whole.size else (0.0, 1.0)
    pad = 0.05 * max(highest - lowest, 1e-6 + 0.02 * abs(highest))
    panel = Panel(
        width=370, height=170, x=(float(x[0]), float(x[-1])), y=(lowest - pad, highest + pad),
        x_label=x_label, y_label=y_label,
    )  # fmt: skip
    drawn = ""
    for place, curve in enumerate(values):
        known = np.isfinite(curve)
        thickness = 1.8 if place == len(values) // 2 else 0.8
        points = _points(panel.at_x(x[known]), panel.at_y(np.asarray(curve)[known]))
        drawn += f'<polyline points="{points}" fill="none" stroke="#0b62c4" stroke-width="{thickness}"/>'
    return panel.svg(drawn, title)
