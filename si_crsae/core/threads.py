"""Windows side by side: groups of them, each on one of the threads that torch takes."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

# Results are summed over windows in this grouping, whatever the number of threads: the same sum to the last bit.
WINDOWS_PER_TASK = 16


def in_threads(work: Callable[[slice], Any], num_windows: int, *, per_task: int = WINDOWS_PER_TASK) -> Iterator[Any]:
    """Do the work for groups of windows, side by side on as many threads as torch takes; yield results in order."""
    groups = [slice(start, start + per_task) for start in range(0, num_windows, per_task)]
    if torch.get_num_threads() == 1 or len(groups) < 2:
        yield from map(work, groups)
        return
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        yield from threads.map(work, groups)
