"""The adapter to SpikeInterface."""

# First, whatever is imported from here: loading SpikeInterface's list of sorters imports `si_crsae.sorting.sorter`,
# which must not be half-way through its own imports then.
import spikeinterface.sorters  # noqa: F401
