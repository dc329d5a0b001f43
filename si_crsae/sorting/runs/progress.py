"""One bar for each stage of a run: its name, which group, how far it is and how long it will take."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tqdm.auto import tqdm

from si_crsae.core.compiled import tell_compiling

REFRESH_S = 1.0
# A stage whose end cannot be told shows the time that has passed.
_WITHOUT_TOTAL = "{desc}: {elapsed}{postfix}"
_WITH_TOTAL = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageBar:
    """The bar of one stage, nothing at all where none is shown."""

    bar: Any = None

    def expect(self, total: int) -> None:
        """Say how many steps there will be."""
        if self.bar is not None:
            self.bar.bar_format = _WITH_TOTAL
            self.bar.reset(total=total)

    def advance(self) -> None:
        """Say that a step is done."""
        if self.bar is not None:
            self.bar.update()

    def note(self, text: str) -> None:
        """Show a remark beside the bar, or none."""
        if self.bar is not None:
            self.bar.set_postfix_str(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a run shows of its stages.

    Parameters
    ----------
    is_shown : bool, default: False
    group_index, num_groups : int
        The group that is sorted, and of how many; the name of a single one is left out.
    """

    is_shown: bool = False
    group_index: int = 0
    num_groups: int = 1

    @property
    def place(self) -> str:
        """Which group it is, if there are several: ``"group 2 of 4: "``."""
        return f"group {self.group_index + 1} of {self.num_groups}: " if self.num_groups > 1 else ""

    @contextmanager
    def stage(self, name: str) -> Iterator[StageBar]:
        """Show a bar as long as the block lasts; without a known end until `StageBar.expect` gives one."""
        if not self.is_shown:
            yield StageBar()
            return
        with tqdm(desc=f"{self.place}{name}", bar_format=_WITHOUT_TOTAL) as bar:
            shown = StageBar(bar=bar)
            with tell_compiling(lambda on: shown.note("compiling, once" if on else "")), _ticking(bar):
                yield shown


@contextmanager
def _ticking(bar: Any) -> Iterator[None]:
    """Let the time of a bar go on while nothing else moves it."""
    done = threading.Event()

    def tick() -> None:
        while not done.wait(REFRESH_S):
            bar.refresh()

    ticker = threading.Thread(target=tick, name="si_crsae progress", daemon=True)
    ticker.start()
    try:
        yield
    finally:
        done.set()
        ticker.join()
