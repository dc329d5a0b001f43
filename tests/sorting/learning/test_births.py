"""Claims about what is born from the residual."""

import numpy as np
import pytest
from simulated_units import (
    NUM_BEFORE,
    NUM_CHANNELS,
    RATE_HZ,
    WIDTH,
    draw_times,
    encoder_of,
    make_recording,
    make_template,
    make_unit,
)

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.assumptions import Assumptions, InitialAssumptions
from si_crsae.sorting.learning.births import find_missed_templates, residual_recording
from si_crsae.sorting.learning.expectation import encode_with_waveforms
from si_crsae.sorting.learning.history import History
from si_crsae.sorting.learning.initialization import find_templates

KNOWN = make_template((1.0, 0.6, 0.2, 0.1), norm=40)
MISSED = make_template((0.1, 0.3, 0.8, 1.0), norm=40)
CONFIG = CrsaeConfig(ms_before=1000 * NUM_BEFORE / RATE_HZ, ms_after=1000 * (WIDTH - NUM_BEFORE) / RATE_HZ)
JOB_KWARGS = {"n_jobs": 1, "chunk_duration": "1s", "progress_bar": False}


def explain(recording, units):
    """Return the dictionary of the units, and what is seen of them in the recording."""
    encoder, channels = encoder_of(units), np.tile(np.arange(NUM_CHANNELS), (len(units), 1))
    events = encode_with_waveforms(recording, encoder, channels=channels, num_threads=1)
    return encoder.dictionary, events


@pytest.fixture(scope="module")
def seen():
    """A recording of two neurons, and the dictionary and events of one of them."""
    times = draw_times(1, count=150), draw_times(2, count=120)
    recording = make_recording([(KNOWN, times[0]), (MISSED, times[1])])
    dictionary, events = explain(recording, [make_unit(KNOWN, times[0], seed=1)])
    return recording, dictionary, events, times


def test_the_residual_holds_noise_where_the_known_neuron_fired(seen):
    recording, dictionary, events, times = seen
    residual = residual_recording(recording, dictionary, events)
    alone = [time for time in times[0] if np.abs(times[1] - time).min() > 120]
    peaks = np.array([residual.get_traces(start_frame=time, end_frame=time + 5) for time in alone])
    assert len(alone) > 50
    assert np.abs(peaks.mean(axis=0)).max() < 0.5


def test_the_neuron_that_no_atom_explains_is_born(seen):
    recording, dictionary, events, _ = seen
    (born,) = find_missed_templates(
        residual_recording(recording, dictionary, events), dictionary.basis, CONFIG, job_kwargs=JOB_KWARGS
    )
    cosine = np.sum(born * MISSED) / np.linalg.norm(born) / np.linalg.norm(MISSED)
    assert cosine > 0.97


def test_nothing_is_born_where_all_is_explained(seen):
    recording, _, _, times = seen
    dictionary, events = explain(recording, [make_unit(template, [], seed=0) for template in (KNOWN, MISSED)])
    assert events.sample_index.size == pytest.approx(times[0].size + times[1].size, rel=0.05)
    assert (
        len(
            find_missed_templates(
                residual_recording(recording, dictionary, events), dictionary.basis, CONFIG, job_kwargs=JOB_KWARGS
            )
        )
        == 0
    )


def test_spikes_too_faint_for_the_first_look_give_birth():
    """The recording counts as long: its own peaks come from no matched filter."""
    faint, times = make_template((0.2, 0.3, 0.7, 1.0), norm=12), draw_times(2, count=200, refractory=300)
    recording = make_recording([(KNOWN, draw_times(1, count=150)), (faint, times)])
    dictionary, events = explain(recording, [make_unit(KNOWN, draw_times(1, count=150), seed=1)])
    told = {"job_kwargs": JOB_KWARGS, "assumed": Assumptions(initial=InitialAssumptions(matched_filter_below_s=0.0))}
    first_look, births = History(), History()
    find_templates(residual_recording(recording, dictionary, events), CONFIG, history=first_look, **told)
    find_missed_templates(
        residual_recording(recording, dictionary, events), dictionary.basis, CONFIG, history=births, **told
    )
    first, later = (sum(cluster.value for cluster in history.decisions) for history in (first_look, births))
    assert first < 60
    assert later > 150
