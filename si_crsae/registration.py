"""Make the sorter and its matching method known to SpikeInterface, which has no entry points for them."""

import sys
from typing import Any


def register_sorter(sorter_list: Any) -> None:
    """Add `CrsaeSorter` to SpikeInterface's tables of sorters; doing it twice changes nothing.

    Parameters
    ----------
    sorter_list : module
        ``spikeinterface.sorters.sorterlist``, fully executed.
    """
    from si_crsae.sorting.sorter import CrsaeSorter

    registered = sorter_list.sorter_dict.setdefault(CrsaeSorter.sorter_name, CrsaeSorter)
    if registered not in sorter_list.sorter_full_list:
        sorter_list.sorter_full_list.append(registered)
    # The star-imports of these modules may have run before us.
    for name in (sorter_list.__name__, "spikeinterface.sorters", "spikeinterface.full"):
        if name in sys.modules:
            setattr(sys.modules[name], registered.__name__, registered)


def register_matching(method_list: Any) -> None:
    """Add `CrsaeMatching` to SpikeInterface's table of template-matching methods; doing it twice changes nothing.

    Parameters
    ----------
    method_list : module
        ``spikeinterface.sortingcomponents.matching.method_list``, fully executed.
    """
    from si_crsae.sorting import matching

    # Imported before SpikeInterface's methods, it is half-way through its imports now and registers at its end.
    if hasattr(matching, "register"):
        matching.register(method_list)
