"""The dashboard of a run in a browser, without a notebook: served to this machine only, to who has its token."""

import json
import logging
import secrets
import socket
import tempfile
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

LOOPBACK = "127.0.0.1"
# What a page of another site that was led to this address calls it is none of these.
LOCAL_NAMES = [LOOPBACK, "localhost"]

# The page asks for nothing from elsewhere, not even for the icons of its frame, and is in no other page's frame.
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'"

_CELL = """from si_crsae.widgets.serving import dashboard_of
dashboard_of({arguments})"""


def dashboard_of(
    folder: str, *, beside: str | None = None, curation_path: str | None = None, trust: bool = False
) -> Any:
    """Return the dashboard of a run; what the kernel of a served page does.

    Parameters
    ----------
    folder : str
        The folder given to ``run_sorter``.
    beside : str or None, default: None
        That of another run of the same recording, to compare with.
    curation_path : str or None, default: None
        Where decisions are saved, and taken up if they are there.
    trust : bool, default: False
        See `open_run`.
    """
    from si_crsae.widgets.dashboard import Dashboard
    from si_crsae.widgets.session import compare_runs, open_session

    session = open_session(folder, trust=trust) if beside is None else compare_runs(folder, beside, trust=trust)
    return Dashboard(session, curation_path=curation_path)


def serve(
    *, port: int | None = None, opens_browser: bool = True, told: Callable[[str], None] = print, **arguments: Any
) -> None:
    """Serve the dashboard of a run to browsers on this machine, until Ctrl-C.

    Every page has a kernel of its own, which ends with it.

    Parameters
    ----------
    port : int or None, default: None
        None for a free one.
    opens_browser : bool, default: True
        Whether to open the page.
    told : callable, default: print
        Given the address of the page, with the token, once it is served.
    **arguments
        Of `dashboard_of`.

    Raises
    ------
    ImportError
        If voila is not installed.
    """
    try:
        import ipykernel  # noqa: F401  of the page, which voila does not bring
        from voila.app import Voila
    except ImportError as error:
        raise ImportError(
            f"a page without a notebook needs {error.name}, which cannot be imported: pip install 'si_crsae[view]'",
            name=error.name,
        ) from error

    class Page(Voila):
        """Voila, which tells and opens the address with its token."""

        def launch_browser(self) -> None:
            address = f"http://{LOOPBACK}:{self.port}/?token={token}"
            told(address)
            if opens_browser:
                webbrowser.open(address)

    token = secrets.token_urlsafe(24)
    with tempfile.TemporaryDirectory() as scratch:
        notebook = Path(scratch) / "dashboard.ipynb"
        notebook.write_text(json.dumps(_notebook(arguments)), encoding="utf8")
        page = Page(
            ip=LOOPBACK,
            port=port or _free_port(),
            port_retries=0,
            token=token,
            open_browser=True,
            log_level=logging.ERROR,
            tornado_settings={
                "allow_remote_access": False,
                "local_hostnames": LOCAL_NAMES,
                "headers": {"Content-Security-Policy": POLICY},
            },
        )
        page.initialize([str(notebook), "--show_tracebacks=True"])
        page.start()


def _notebook(arguments: dict[str, Any]) -> dict[str, Any]:
    source = _CELL.format(arguments=", ".join(f"{name}={value!r}" for name, value in arguments.items()))
    cell = {
        "cell_type": "code",
        "id": "dashboard",
        "metadata": {},
        "source": source,
        "outputs": [],
        "execution_count": None,
    }
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": kernel, "title": "si_crsae"},
        "cells": [cell],
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
