from dataclasses import replace

import numpy as np

from si_crsae.evaluation.decomposition import decompose
from si_crsae.evaluation.sorted_recording import open_run
from si_crsae.widgets.view_models.residuals import traces_and_residual


def test_the_residual_is_what_the_spikes_leave(run_folder):
    opened = open_run(run_folder)
    loud = int(opened.units.scales.argmax())
    peak = int(opened.sorting.get_unit_spike_train(opened.unit_ids[loud])[2])
    stretch = {"start": peak - 30, "end": peak + 60}
    traces, residual = traces_and_residual(opened, segment_index=0, **stretch)
    whole = decompose(opened.whitened, opened.units, **stretch)
    np.testing.assert_allclose(traces, whole.traces, atol=1e-5)
    np.testing.assert_allclose(residual, whole.residual, atol=1e-3)
    assert np.abs(residual).max() < 0.5 * np.abs(traces).max()


def test_without_traces_there_is_no_residual(run_folder):
    bare = replace(open_run(run_folder), whitened=None, segments=np.zeros(0, "int64"))
    assert traces_and_residual(bare, segment_index=0, start=0, end=100) is None
