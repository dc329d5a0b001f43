"""The page of a report."""

import html
from pathlib import Path

from spikeinterface.core import BaseRecording

from si_crsae.evaluation.sorted_recording import SortedRecording, open_run
from si_crsae.files import written_whole
from si_crsae.widgets.report import sections
from si_crsae.widgets.report.motion import motion_section
from si_crsae.widgets.view_models.unit_figures import describe_units

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ margin: 1.5rem auto; max-width: 60rem; padding: 0 1rem; font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a;
  background: #fff; }}
nav a {{ margin-right: 1rem; }}
a {{ color: #0a58ca; }}
h2 {{ border-bottom: 1px solid #767676; margin-top: 2.5rem; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 0.15rem 0.7rem 0.15rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid #ddd; }}
.wide {{ overflow-x: auto; }}
.note {{ color: #555; font-size: 0.9em; }}
svg text {{ font: 10px system-ui, sans-serif; fill: #333; }}
svg {{ max-width: 100%; height: auto; }}
td svg {{ min-width: 190px; }}
@media print {{ nav {{ display: none; }} .unit, tr {{ break-inside: avoid; }} body {{ margin: 0; max-width: none; }} }}
</style>
</head>
<body>
<h1>{title}</h1>
<nav aria-label="Sections">{links}</nav>
<main>{content}</main>
</body>
</html>
"""
_LINKS = {
    "drift": "Activity and drift",
    "motion": "Motion",
    "units": "Units",
    "pictures": "Unit by unit",
    "learning": "Learning",
    "parameters": "Parameters",
    "versions": "Versions",
}


def report(
    run: str | Path | SortedRecording,
    path: str | Path = "report.html",
    *,
    recording: BaseRecording | None = None,
    trust: bool = False,
) -> Path:
    """Write what a sorting has found on one page, which opens without the network and prints.

    What was sorted; activity over time; how the tissue moved, where that is known; a table of the units and, for each,
    waveforms, autocorrelogram and amplitudes; what learning did and which candidates it dropped; the parameters;
    versions.

    Parameters
    ----------
    run : str, Path or SortedRecording
        The folder given to ``run_sorter``, or what `explain_sorting` has returned.
    path : str or Path, default: "report.html"
        In an existing folder.
    recording, trust
        See `open_run`.

    Returns
    -------
    Path
        The path.

    Raises
    ------
    ValueError
        If the folder is not that of a run, or that of the page does not exist.

    Examples
    --------
    >>> si_crsae.report("run", "report.html")  # doctest: +SKIP
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise ValueError(f"path = {path}: its folder does not exist; make it, or choose another")
    shown = run if isinstance(run, SortedRecording) else open_run(run, recording=recording, trust=trust)
    overview = describe_units(shown)
    content = "\n".join(
        (
            sections.summary_section(shown),
            sections.drift_section(shown, overview),
            motion_section(shown),
            sections.units_section(overview),
            sections.pictures_section(shown, overview),
            sections.learning_section(shown, overview),
            sections.parameters_section(shown),
            sections.versions_section(),
        )
    )
    links = "".join(f"<a href='#{name}'>{text}</a>" for name, text in _LINKS.items() if f"id='{name}'" in content)
    title = html.escape(
        f"{shown.name}: {len(shown.unit_ids)} units" if shown.folder is None else f"Sorting {shown.folder.name}"
    )
    with written_whole(path) as unfinished:
        unfinished.write_text(_PAGE.format(title=title, links=links, content=content), encoding="utf8")
    return path
