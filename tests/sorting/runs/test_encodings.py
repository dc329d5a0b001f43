"""A sorting ends, and its log can be read, where texts are neither written nor read as UTF-8."""

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from si_crsae.evaluation import demo
from si_crsae.sorting.runs.texts import ScreenHandler, printable

HELPERS = Path(__file__).parents[2] / "helpers"
SORT = """
import json, locale, sys
from pathlib import Path

import numpy as np
import spikeinterface as si
import spikeinterface.sorters as ss
from sorter_fixtures import simulate

assert sys.stdout.encoding == locale.getpreferredencoding(False).replace("ANSI_X3.4-1968", "ascii") == "ascii"
folder = Path(sys.argv[1])
simulation = simulate(num_channels=4, num_units=3, durations=[6.0])
traces = simulation.traces
traces[:, 3] = 0
recording = si.NumpyRecording([traces], 30000.0, channel_ids=["a", "b", "\\u00b5 3", "\\u00fc"])
recording = recording.save(folder=folder / "recording", progress_bar=False)
sorting = ss.run_sorter("crsae", recording, folder=folder / "run", verbose=True, job_kwargs={"progress_bar": True})
print(json.dumps([sorting.get_num_units(), sorted(set(sorting.get_property("main_channel_id").tolist()))]))
"""


@pytest.mark.slow
def test_a_recording_is_sorted_where_everything_is_ascii(tmp_path):
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(HELPERS), os.environ.get("PYTHONPATH", "")]),
        "PYTHONIOENCODING": "ascii",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "LC_ALL": "C",
    }
    done = subprocess.run([sys.executable, "-c", SORT, str(tmp_path)], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode("ascii", "backslashreplace")
    assert b"Logging error" not in done.stderr
    printed = done.stdout.decode("ascii").splitlines()
    num_units, main_channels = json.loads(printed[-1])
    assert num_units == 3
    assert set(main_channels) <= {"a", "b", "µ 3"}
    assert any(r"channels ['\xfc'] are constant" in line for line in printed)
    log = json.loads((tmp_path / "run" / "spikeinterface_log.json").read_text(encoding="utf8"))
    assert any(r"channels ['\xfc'] are constant" in line for line in log["runtime_trace"])


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", r"\xb5 \u2192 x"),
        ("cp1252", r"µ \u2192 x"),
        ("utf-8", "µ → x"),
        (None, r"\xb5 \u2192 x"),
    ],
    ids=["ascii", "cp1252", "utf8", "unknown"],
)
def test_what_a_stream_cannot_show_is_escaped(encoding, shown):
    stream = io.StringIO() if encoding is None else io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    text = "µ → x"
    assert printable(text, stream) == shown
    assert printable("\udc80", stream) == r"\udc80"  # half a character, which no encoding has
    logger = logging.getLogger("tests.encodings")
    handler = ScreenHandler(stream)
    logger.addHandler(handler)
    logger.warning("%s", text)
    logger.removeHandler(handler)
    stream.seek(0)
    assert stream.read() == f"{shown}\n"


def test_the_demonstration_names_its_picture_on_any_screen(monkeypatch):
    screen = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", screen)
    demo._say("picture: bücher/demo.png")
    screen.seek(0)
    assert screen.read() == "picture: b\\xfccher/demo.png\n"
