"""Signals of other lengths than spikes of neurons."""

import dataclasses
import re
import warnings

import pytest
import spikeinterface.sorters as ss
from spikeinterface.comparison import compare_sorter_to_ground_truth
from surface_emg import simulate_emg

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.assumptions import ASSUMED
from si_crsae.sorting.checks import check_recording
from si_crsae.sorting.durations import assumed_of_templates


def test_templates_of_neurons_leave_the_assumptions_alone():
    assert assumed_of_templates(CrsaeConfig()) is ASSUMED
    assert assumed_of_templates(CrsaeConfig(ms_before=3.0, ms_after=6.9)) is ASSUMED


def test_all_times_within_a_waveform_are_longer_with_long_templates_and_those_between_spikes_are_not():
    slow = assumed_of_templates(CrsaeConfig(ms_before=10.0, ms_after=20.0))
    longer, same = set(), set()
    for group in dataclasses.fields(ASSUMED):
        before, after = getattr(ASSUMED, group.name), getattr(slow, group.name)
        for field in dataclasses.fields(before):
            ratio = getattr(after, field.name) == getattr(before, field.name)
            if field.name.endswith("_ms"):
                (same if ratio else longer).add(field.name)
            else:
                assert ratio, field.name
    assert longer == {
        *("exclude_sweep_ms", "opposite_sweep_ms", "early_flank_ms", "cluster_jitter_ms", "max_peak_shift_ms"),
        *("max_lag_ms", "companion_lag_ms", "satellite_lag_ms", "satellite_jitter_ms"),
    }
    assert {"one_spike_ms", "impossible_ms", "reported_ms", "group_gap_ms"} <= same
    assert slow.initial.exclude_sweep_ms == pytest.approx(10 * ASSUMED.initial.exclude_sweep_ms)


def advised(message):
    """Return the parameters that a message recommends."""
    advice = re.search(r"(?:for them try|for such signals set) ([^;)]*)", message)[1]
    return {name: float(value) for name, value in re.findall(r"(\w+) = ([\d.e+]+)", advice)}


@pytest.mark.slow
def test_surface_emg_is_refused_with_advice_that_works(tmp_path):
    """64 channels at 2 kHz: every motor unit is found, once the check has been listened to."""
    recording, truth = simulate_emg(duration_s=40.0)
    recording = recording.save(folder=tmp_path / "recording", progress_bar=False)
    with pytest.raises(ValueError, match=r"2 \+ 4 samples at 2000 Hz; at least 8 are needed") as refusal:
        check_recording(recording, CrsaeConfig())
    parameters = advised(str(refusal.value))
    assert parameters == {"ms_before": 10, "ms_after": 15, "freq_min": 20}
    with pytest.warns(UserWarning, match="contacts are 8000 um apart, template_radius_um = 120: every channel") as told:
        check_recording(recording, CrsaeConfig(**parameters))
    parameters |= advised(str(told[0].message))
    assert parameters.keys() >= {"template_radius_um", "detection_radius_um", "whitening_radius_um", "detect_threshold"}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        check_recording(recording, CrsaeConfig(**parameters))
    sorting = ss.run_sorter("crsae", recording, folder=tmp_path / "run", **parameters)
    performance = compare_sorter_to_ground_truth(truth, sorting, delta_time=5.0).get_performance()
    assert performance["accuracy"].min() > 0.95
    assert performance["accuracy"].mean() > 0.98
    assert sorting.get_num_units() <= truth.get_num_units() + 1
