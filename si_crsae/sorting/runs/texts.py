"""Texts for files and screens whose encoding is not ours to choose: what they cannot hold is escaped."""

import logging
from pathlib import Path
from typing import TextIO

from tqdm import tqdm


def printable(text: str, stream: TextIO) -> str:
    r"""Return a text that can be written to a stream, other characters as escapes such as ``\xb5``."""
    encoding = getattr(stream, "encoding", None) or "ascii"
    return text.encode(encoding, "backslashreplace").decode(encoding)


class ScreenHandler(logging.StreamHandler):
    """Writes records to a stream, which may be unable to show every character."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record as the stream can show it."""
        return printable(super().format(record), self.stream)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record above the progress bars."""
        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)


def log_file_handler(path: Path) -> logging.FileHandler:
    """Return what appends records to a file in ASCII: SpikeInterface reads it after a run, in the system's encoding."""
    return logging.FileHandler(path, encoding="ascii", errors="backslashreplace")
