"""Sections of a report, as HTML."""

import html
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from si_crsae.config import PARAMETER_GROUPS, CrsaeConfig
from si_crsae.diagnostics import diagnose
from si_crsae.evaluation.motion import is_motion_followed
from si_crsae.evaluation.plots import TRACE_COLOR, unit_color
from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.excluded import PERIODS_FILE, load_excluded_periods
from si_crsae.sorting.folder import load_config
from si_crsae.widgets.report.pictures import (
    activity_picture,
    amplitude_picture,
    correlogram_picture,
    course_picture,
    waveform_picture,
)
from si_crsae.widgets.view_models.templates import atom_waveforms, template_waveforms
from si_crsae.widgets.view_models.unit_activity import (
    correlogram,
    relative_amplitudes,
    spikes_of_units,
    thinned_amplitudes,
)
from si_crsae.widgets.view_models.unit_figures import UnitFigure, UnitOverview
from si_crsae.widgets.view_models.unit_history import UnitHistory, open_history
from si_crsae.widgets.view_models.words import counted

MAX_POINTS = 800
MAX_LISTED = 200
NUM_ACTIVITY_BINS = 120
NUM_DRIFT_BINS = 20
MIN_SPIKES_PER_BIN = 5


def escaped(value: object) -> str:
    """Return what a value is called, for HTML."""
    return html.escape(str(value))


def table_of(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; cells are HTML."""
    head = "".join(f"<th scope='col'>{text}</th>" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def summary_section(shown: SortedRecording) -> str:
    """Return what was sorted and how much was found."""
    frequency, num_segments = shown.sampling_frequency, len(shown.num_samples)
    total_s = sum(shown.num_samples) / frequency
    facts = [
        ("Sorted by", escaped(shown.name)),
        ("Recording", f"{counted(shown.channel_ids.size, 'channel')}, {total_s:.4g} s at {frequency:g} Hz"),
        ("Segments", str(num_segments)),
        ("Found", f"{counted(len(shown.unit_ids), 'unit')}, {counted(shown.units.spikes.size, 'spike')}"),
    ]
    if shown.folder is not None and (shown.folder / "sorter_output" / PERIODS_FILE).is_file():
        facts.insert(3, ("Excluded", _excluded(load_excluded_periods(shown.folder), frequency)))
    if shown.folder is not None:
        facts.insert(0, ("Folder", escaped(Path(shown.folder).name)))
    notes = "".join(f"<p class='note'>{escaped(note)}</p>" for note in shown.missing)
    return "<section id='summary'><h2>What was sorted</h2>" + table_of(("", ""), facts) + notes + "</section>"


def _excluded(periods: np.ndarray, frequency: float) -> str:
    """Return how much was left out: given by the user, and found as artifacts."""
    told = []
    for is_artifact, noun in ((False, "period"), (True, "artifact")):
        mine = periods[periods["is_artifact"] == is_artifact]
        periods_of_kind = np.unique(mine[["segment_index", "start_sample_index", "end_sample_index"]])
        duration_s = (periods_of_kind["end_sample_index"] - periods_of_kind["start_sample_index"]).sum() / frequency
        if periods_of_kind.size:
            told.append(f"{counted(periods_of_kind.size, noun)}, {duration_s:.3g} s")
    return "; ".join(told) or "nothing"


def drift_section(shown: SortedRecording, overview: UnitOverview) -> str:
    """Return activity over time by depth, and how amplitudes change together."""
    if not shown.unit_ids:
        return ""
    frequency = shown.sampling_frequency
    begins = np.concatenate([[0], np.cumsum(shown.num_samples)])
    total_s, spikes = begins[-1] / frequency, shown.units.spikes
    times_s = (spikes["sample_index"] + begins[spikes["segment_index"]]) / frequency
    depth_order = np.argsort(overview.locations[overview.main_channel, 1], kind="stable")
    edges = np.linspace(0, total_s, NUM_ACTIVITY_BINS + 1)
    of_units = spikes_of_units(shown)
    counts = np.stack([np.histogram(times_s[of_units[unit]], edges)[0] for unit in depth_order])
    course = _amplitude_course(shown, times_s, of_units, total_s)
    middles = (np.arange(NUM_DRIFT_BINS) + 0.5) * total_s / NUM_DRIFT_BINS
    course_svg = course_picture(
        course,
        middles,
        x_label="time (s)",
        y_label="amplitude",
        title="Quartiles over units of the amplitude over time",
    )
    return (
        "<section id='drift'><h2>Activity and drift</h2>"
        + activity_picture(counts, total_s, title="Spikes of every unit over time, by depth")
        + "<p>Each row is a unit, darker where it fires more. Below: the quartiles, over units, of their median "
        f"amplitude. {_what_drift_does(shown)}</p>" + course_svg + "</section>"
    )


def _what_drift_does(shown: SortedRecording) -> str:
    if is_motion_followed(shown):
        return "Templates moved with the tissue, and amplitudes are those of the template where it was."
    return (
        "Templates do not change: where amplitudes fall together, or units begin where others at the same depth end, "
        "the probe has drifted."
    )


def _amplitude_course(
    shown: SortedRecording, times_s: np.ndarray, of_units: Sequence[np.ndarray], total_s: float
) -> list[np.ndarray]:
    """Return the quartiles over units of the median relative amplitude in every stretch of time."""
    medians = np.full((len(of_units), NUM_DRIFT_BINS), np.nan)
    for unit, mine in enumerate(of_units):
        stretch = np.minimum(times_s[mine] * NUM_DRIFT_BINS // max(total_s, 1e-9), NUM_DRIFT_BINS - 1)
        amplitudes = relative_amplitudes(shown, unit)
        for index in range(NUM_DRIFT_BINS):
            chosen = amplitudes[stretch == index]
            if chosen.size >= MIN_SPIKES_PER_BIN:
                medians[unit, index] = np.median(chosen)
    return [_quantile(medians, share) for share in (0.25, 0.5, 0.75)]


def _quantile(medians: np.ndarray, share: float) -> np.ndarray:
    known = [column[np.isfinite(column)] for column in medians.T]
    return np.array([np.quantile(column, share) if column.size else np.nan for column in known])


def units_section(overview: UnitOverview) -> str:
    """Return the table of all units."""
    heads = ["unit", *(f"{one.label} ({one.unit})" if one.unit else one.label for one in overview.figures)]
    heads += [text.label for text in overview.texts]
    columns = [figures_as_text(figure) for figure in overview.figures]
    rows = [
        [f"<a href='#unit-{unit}'>{escaped(name)}</a>", *(column[unit] for column in columns)]
        + [escaped(text.values[unit]) for text in overview.texts]
        for unit, name in enumerate(overview.unit_ids)
    ]
    hints = "; ".join(f"{one.label}: {one.hint}" for one in overview.figures)
    content = table_of(heads, rows) if rows else "<p>No unit was found.</p>"
    return f"<section id='units'><h2>Units</h2>{content}<p class='note'>{escaped(hints)}.</p></section>"


def figures_as_text(figure: UnitFigure) -> list[str]:
    """Return the values of a figure with the same number of digits after the point."""
    known = np.abs(figure.values[np.isfinite(figure.values)])
    is_whole = known.size > 0 and bool(np.all(known == np.round(known)))
    digits = 0 if is_whole or known.max(initial=0.0) >= 100 else 1 if known.max(initial=0.0) >= 10 else 2
    return [f"{value:,.{digits}f}" if np.isfinite(value) else "unknown" for value in figure.values]


def pictures_section(shown: SortedRecording, overview: UnitOverview) -> str:
    """Return waveforms, autocorrelogram and amplitudes of every unit."""
    cards = "".join(_card(shown, overview, unit) for unit in range(len(overview.unit_ids)))
    said = (
        f"Waveforms at the contacts where they are largest; autocorrelogram, {ASSUMED.refractory.reported_ms:g} ms "
        "shaded; amplitudes over time, relative to the typical one"
    )
    said += "." if shown.posterior is None else ", red crosses: spikes that are probably something else."
    return f"<section id='pictures'><h2>Unit by unit</h2><p>{said}</p>{cards}</section>"


def _card(shown: SortedRecording, overview: UnitOverview, unit: int) -> str:
    name, color = escaped(overview.unit_ids[unit]), unit_color(unit)
    waveforms = template_waveforms(shown, [unit]) or atom_waveforms(shown, [unit])
    segments = range(len(shown.num_samples))
    budget = max(MAX_POINTS // len(segments), 50)
    parts = [thinned_amplitudes(shown, [unit], segment_index=index, max_points=budget) for index in segments]
    pictures = [
        waveform_picture(waveforms, overview, color=color, title=f"Waveforms of unit {name}"),
        correlogram_picture(
            correlogram(shown, unit),
            refractory_ms=ASSUMED.refractory.reported_ms,
            color=color,
            title=f"Autocorrelogram of unit {name}",
        ),
        amplitude_picture(
            parts,
            [shown.duration_s(index) for index in segments],
            color=color,
            title=f"Amplitudes of unit {name} over time",
        ),
    ]
    return f"<article class='unit' id='unit-{unit}'><h3>Unit {name}</h3>{''.join(pictures)}</article>"


def learning_section(shown: SortedRecording, overview: UnitOverview) -> str:
    """Return what learning did, and what became of candidates that are no units of the sorting."""
    if not shown.learning_curves:
        return ""
    parts = []
    for group, curve in shown.learning_curves.items():
        rounds = np.arange(1, curve.objective.size + 1)
        columns = zip(
            rounds, curve.objective, curve.num_atoms, curve.num_events, curve.mean_regularization, strict=True
        )
        rows = [[f"{i}", f"{objective:.5g}", f"{n}", f"{m:,}", f"{price:.3g}"] for i, objective, n, m, price in columns]
        title = f"<h3>Group {escaped(group)}</h3>" if len(shown.learning_curves) > 1 else ""
        parts.append(title + table_of(("round", "objective", "candidate units", "events", "regularization"), rows))
    history = open_history(shown)
    if history is not None:
        parts.append(_history(history, overview))
    return f"<section id='learning'><h2>What learning did</h2>{''.join(parts)}</section>"


def _history(history: UnitHistory, overview: UnitOverview) -> str:
    counts = {what: sum(by_round.values()) for what, by_round in history.counts.items()}
    told = ", ".join(f"{number} {what}" for what, number in counts.items() if number)
    gone = [index for index, candidate in enumerate(history.candidates) if candidate.fate != "kept"]
    gone.sort(key=lambda index: -history.candidates[index].num_events)
    heads = ("fate", "candidate", "when", "on channel", "spikes", "because", "template")
    rows = [_gone_row(history, overview, index) for index in gone[:MAX_LISTED]]
    more = f"<p>{len(gone) - MAX_LISTED} more: si_crsae.load_history.</p>" if len(gone) > MAX_LISTED else ""
    listed = table_of(heads, rows) if rows else "<p>None.</p>"
    return f"<p>Decisions: {told}.</p><h3>Candidates that are not in the sorting</h3>{listed}{more}"


def _gone_row(history: UnitHistory, overview: UnitOverview, index: int) -> list[str]:
    candidate = history.candidates[index]
    because = f"{candidate.end.because} ({candidate.end.measured})"
    channel = overview.channel_ids[candidate.channel]
    cells = (candidate.fate, candidate.name, candidate.end.when, channel, candidate.num_events, because)
    waveforms, picture = history.waveforms_of([index]), ""
    if len(waveforms.values):
        title = escaped(f"Template of {candidate.name}")
        drawn = waveform_picture(waveforms, overview, color=TRACE_COLOR, title=title)
        picture = f"<details><summary>show</summary>{drawn}</details>"
    return [*map(escaped, cells), picture]


def parameters_section(shown: SortedRecording) -> str:
    """Return the parameters of a run, those that differ from the defaults in bold."""
    if shown.folder is None:
        return ""
    given, default = (one.model_dump(mode="json") for one in (load_config(shown.folder), CrsaeConfig()))
    rows = []
    for title, names in PARAMETER_GROUPS.items():
        for name in names:
            value = escaped(given[name])
            value = value if given[name] == default[name] else f"<strong>{value}</strong> (default {default[name]!r})"
            rows.append((escaped(title), f"<code>{name}</code>", value))
    return "<section id='parameters'><h2>Parameters</h2>" + table_of(("", "parameter", "value"), rows) + "</section>"


def versions_section() -> str:
    """Return the versions with which the report was made."""
    rows = [(escaped(name), escaped(value)) for name, value in diagnose().items() if name != "compiled loops"]
    return "<section id='versions'><h2>Made with</h2>" + table_of(("", ""), rows) + "</section>"
