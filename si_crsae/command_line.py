"""The command ``crsae``: sort, resume, view, report, doctor."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

import si_crsae

FOLDER = click.Path(path_type=Path)
EXISTING_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
# What users can cause; all else is a fault of ours and shows where it happened.
REFUSALS = (ValueError, OSError, ImportError, RuntimeError)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(si_crsae.__version__, prog_name="si_crsae")
def main() -> None:
    """Sort spikes by convolutional sparse coding."""


@contextmanager
def _told() -> Iterator[None]:
    """Say what was refused in one message, without a traceback."""
    try:
        yield
    except REFUSALS as error:
        raise click.ClickException(str(error)) from error


def _parameters(given: tuple[str, ...]) -> dict[str, Any]:
    """Return parameters from NAME=VALUE; what is no JSON is a text."""
    parameters = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not separator:
            raise click.BadParameter(f"{text!r}: write NAME=VALUE, such as detect_threshold=4.5", param_hint="--set")
        parameters[name.strip()] = _value_of(value.strip())
    return parameters


def _value_of(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"True": True, "False": False}.get(text, text)


@main.command()
@click.argument("recording", type=click.Path(path_type=Path))
@click.argument("folder", type=FOLDER)
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="A parameter; as often as needed.")
@click.option("--reader", default="auto", show_default=True, help="SpikeInterface's reader, such as spikeglx.")
@click.option("--stream", default=None, help="Which stream of signals, where there are several.")
@click.option(
    "--probe", type=click.Path(path_type=Path, exists=True), help="probeinterface's JSON, if the files have no probe."
)
@click.option("--overwrite", is_flag=True, help="Replace what lies in FOLDER.")
@click.option("--quiet", is_flag=True, help="No bars and no messages but warnings.")
def sort(
    recording: Path,
    folder: Path,
    given: tuple[str, ...],
    reader: str,
    stream: str | None,
    probe: Path | None,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Sort RECORDING, a file or folder that SpikeInterface reads, and leave everything in FOLDER."""
    parameters = _parameters(given)
    if quiet:
        parameters["job_kwargs"] = {"progress_bar": False, **parameters.get("job_kwargs", {})}
    with _told():
        from spikeinterface.sorters import run_sorter

        from si_crsae.io.recordings import read_recording

        read: Any = read_recording(recording, reader=reader, stream_name=stream)
        if probe is not None:
            read = _with_probe(read, probe)
        sorting: Any = run_sorter(
            "crsae", read, folder=str(folder), verbose=not quiet, remove_existing_folder=overwrite, **parameters
        )
    _say_next(sorting, folder)


def _with_probe(recording: Any, path: Path) -> Any:
    from probeinterface import read_probeinterface

    return recording.set_probegroup(read_probeinterface(path))


def _say_next(sorting: Any, folder: Path) -> None:
    _say(f"{sorting.get_num_units()} units, {sorting.count_total_num_spikes()} spikes in {folder}")
    _say(f"To look at them: crsae view {folder}; on one page: crsae report {folder}")


def _say(text: str) -> None:
    """Write a line, whatever characters the folders in it have."""
    from si_crsae.sorting.runs.texts import printable

    click.echo(printable(text, sys.stdout))


@main.command()
@click.argument("folder", type=EXISTING_FOLDER)
@click.option("--trust", is_flag=True, help="Load what the folder describes, even pickles.")
@click.option("--quiet", is_flag=True, help="No messages but warnings.")
def resume(folder: Path, trust: bool, quiet: bool) -> None:
    """Go on with the run in FOLDER after a crash or a kill."""
    with _told():
        sorting = si_crsae.resume_sorter(folder, trust=trust, verbose=not quiet)
    _say_next(sorting, folder)


@main.command()
@click.argument("folder", type=EXISTING_FOLDER)
@click.option("--beside", type=EXISTING_FOLDER, help="Another run of the same recording, to compare with.")
@click.option(
    "--curation", type=click.Path(path_type=Path), help="Where decisions go; curation.json in FOLDER if not given."
)
@click.option("--port", type=int, help="A free one if not given.")
@click.option("--no-browser", is_flag=True, help="Only tell the address.")
@click.option("--trust", is_flag=True, help="Load what the folder describes, even pickles.")
def view(
    folder: Path, beside: Path | None, curation: Path | None, port: int | None, no_browser: bool, trust: bool
) -> None:
    """Look at the run in FOLDER in a browser, on this machine only; Ctrl-C ends."""
    with _told():
        from si_crsae.evaluation.sorted_recording import open_run
        from si_crsae.widgets.serving import serve

        for run in filter(None, (folder, beside)):
            open_run(run, trust=trust)  # what is wrong with it is said here rather than in the page
        serve(
            port=port,
            opens_browser=not no_browser,
            told=lambda address: click.echo(f"{address}\nCtrl-C ends."),
            folder=str(folder.absolute()),
            beside=None if beside is None else str(beside.absolute()),
            curation_path=str((curation or folder / "curation.json").absolute()),
            trust=trust,
        )


@main.command()
@click.argument("folder", type=EXISTING_FOLDER)
@click.option("--out", type=click.Path(path_type=Path), help="The page; report.html in FOLDER if not given.")
@click.option("--trust", is_flag=True, help="Load what the folder describes, even pickles.")
def report(folder: Path, out: Path | None, trust: bool) -> None:
    """Write what the run in FOLDER has found on one page, which opens without the network and prints."""
    with _told():
        path = si_crsae.report(folder, out or folder / "report.html", trust=trust)
    _say(str(path))


@main.command()
def doctor() -> None:
    """Say what a report of a problem should say about this machine."""
    si_crsae.doctor()
