"""The section of a report about how the tissue moved."""

import numpy as np
from jaxtyping import Float

from si_crsae.evaluation.motion import TissueMotion, open_motion
from si_crsae.evaluation.plots import TRACE_COLOR
from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.widgets.report.pictures import Panel
from si_crsae.widgets.view_models.motion import MotionModel, MotionWindow, motion_model

MAX_PEAKS = 4000
WIDTH, HEIGHT = 760.0, 260.0
MARGIN_UM = 20.0
MOTION_COLOR = "#b00020"


def motion_section(shown: SortedRecording) -> str:
    """Return how the tissue moved, for every group and segment in which that is known; nothing where it is not."""
    motions = open_motion(shown)
    parts = []
    for place, motion in enumerate(motions):
        for segment in motion.segments.tolist():
            window = MotionWindow(
                group=place, segment_index=segment, start_s=0.0, end_s=shown.duration_s(segment), is_whole=True
            )
            model = motion_model(shown, motions, window, max_points=MAX_PEAKS)
            parts.append(_title(motion, segment, len(motions), motion.segments.size) + _pictures(model))
    if not parts:
        return ""
    said = (
        "<p>Each mark is a peak of the traces at its depth along the probe: above as it was recorded, with the motion "
        "at each depth in red; below with that motion taken off. What was estimated well lies on level lines there.</p>"
    )
    return f"<section id='motion'><h2>Motion of the tissue</h2>{said}{''.join(parts)}</section>"


def _title(motion: TissueMotion, segment: int, num_groups: int, num_segments: int) -> str:
    names = [f"group {motion.group}"] if num_groups > 1 else []
    names += [f"segment {segment}"] if num_segments > 1 else []
    return f"<h3>{', '.join(names).capitalize()}</h3>" if names else ""


def _pictures(model: MotionModel) -> str:
    recorded, rest = model.point_depth_um, model.point_depth_um - model.point_moved_um
    bounds = (model.depths_um[0] - MARGIN_UM, model.depths_um[1] + MARGIN_UM)
    panel = Panel(
        width=WIDTH, height=HEIGHT, x=(0, model.duration_s), y=bounds, x_label="time (s)", y_label="depth (µm)"
    )
    curves = ""
    for window, depth in enumerate(model.window_depth_um):
        x, y = panel.at_x(model.bin_time_s), panel.at_y(np.clip(depth + model.displacement_um[:, window], *bounds))
        points = " ".join(f"{across:.1f},{down:.1f}" for across, down in zip(x, y, strict=True))
        curves += f'<polyline points="{points}" fill="none" stroke="{MOTION_COLOR}" stroke-width="1.2"/>'
    return (
        f"<p>The tissue {model.said}.</p>"
        + panel.svg(_marks(panel, model, recorded, bounds) + curves, "Depths of peaks as recorded, and the motion")
        + panel.svg(_marks(panel, model, rest, bounds), "Depths of peaks at rest")
    )


def _marks(panel: Panel, model: MotionModel, depths: Float[np.ndarray, " point"], bounds: tuple[float, float]) -> str:
    inside = (depths >= bounds[0]) & (depths <= bounds[1])
    x, y = panel.at_x(model.point_time_s[inside]), panel.at_y(depths[inside])
    path = "".join(f"M{across:.1f} {down:.1f}h1" for across, down in zip(x, y, strict=True))
    return f'<path d="{path}" stroke="{TRACE_COLOR}" stroke-width="1" stroke-opacity="0.6"/>'
