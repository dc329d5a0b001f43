"""neo in and out: nothing may be lost on the way, and the times must be the recording's."""

import neo
import numpy as np
import pytest
import quantities as pq
from hypothesis import given, settings
from hypothesis import strategies as st
from probeinterface import ProbeGroup, generate_linear_probe, generate_tetrode
from spikeinterface.core import NumpyRecording, NumpySorting, create_sorting_analyzer, generate_ground_truth_recording
from spikeinterface.core.base import minimum_spike_dtype

from si_crsae.io.neo import recording_from_neo, sorting_from_neo, to_neo

SAMPLING_FREQUENCY = 30_000.25


def make_sorting(trains_by_segment, unit_ids, *, sampling_frequency=SAMPLING_FREQUENCY):
    """Build a sorting from sample indices, `trains_by_segment[segment][unit]`; every segment needs a spike."""
    spikes = [
        (sample_index, unit_index, segment_index)
        for segment_index, trains in enumerate(trains_by_segment)
        for unit_index, samples in enumerate(trains)
        for sample_index in samples
    ]
    vector = np.sort(np.array(spikes, dtype=minimum_spike_dtype), order=["segment_index", "sample_index", "unit_index"])
    return NumpySorting(vector, sampling_frequency, np.asarray(unit_ids))


def make_recording(num_samples, *, t_starts=None, sampling_frequency=SAMPLING_FREQUENCY):
    traces = [np.arange(count * 4, dtype="float32").reshape(count, 4) for count in num_samples]
    return NumpyRecording(traces, sampling_frequency, t_starts=t_starts, channel_ids=["a", "b", "c", "d"])


def assert_same_sorting(actual, expected):
    assert actual.get_num_segments() == expected.get_num_segments()
    assert actual.sampling_frequency == expected.sampling_frequency
    assert actual.unit_ids.tolist() == expected.unit_ids.tolist()
    assert actual.unit_ids.dtype.kind in ("U" if expected.unit_ids.dtype.kind == "U" else "i")
    for segment_index in range(expected.get_num_segments()):
        assert actual.get_start_time(segment_index) == expected.get_start_time(segment_index)
        for unit_id in expected.unit_ids:
            np.testing.assert_array_equal(
                actual.get_unit_spike_train(unit_id, segment_index),
                expected.get_unit_spike_train(unit_id, segment_index),
            )


@pytest.fixture
def sorting():
    """Two segments; the second unit is silent in the second segment, the last everywhere."""
    sorting = make_sorting([[[0, 10, 999], [10, 500], []], [[3], [], []]], [7, 8, 10])
    sorting.set_property("main_channel_id", np.array(["b", "d", "a"]))
    sorting.set_property("group", np.array([0, 1, 1]))
    sorting.set_property("snr", np.array([3.5, np.inf, 0.0]))
    sorting.set_property("good", np.array([True, False, True]))
    sorting.set_property("location", np.zeros((3, 2)))
    return sorting


@pytest.fixture(scope="module")
def simulated():
    return generate_ground_truth_recording(
        durations=[2.0, 1.0], num_channels=4, num_units=3, sampling_frequency=20_000.0, seed=1
    )


@pytest.mark.parametrize(
    "unit_ids", [np.array([7, -8, 2**60], "int64"), np.array([1, 2, 3], "uint8"), ["a", "b", "ü 3"]]
)
def test_round_trip_keeps_unit_ids_and_segments(sorting, unit_ids):
    renamed = sorting.rename_units(unit_ids)
    assert_same_sorting(sorting_from_neo(to_neo(renamed)), renamed)


def test_round_trip_keeps_scalar_properties_and_drops_others(sorting):
    back = sorting_from_neo(to_neo(sorting))
    assert set(back.get_property_keys()) == {"main_channel_id", "group", "snr", "good"}
    for key in back.get_property_keys():
        np.testing.assert_array_equal(back.get_property(key), sorting.get_property(key))
        assert back.get_property(key).dtype.kind == sorting.get_property(key).dtype.kind


def test_round_trip_keeps_start_times_of_the_recording(sorting):
    recording = make_recording([1000, 10], t_starts=[1e9 + 0.1, 7.0])
    back = sorting_from_neo(to_neo(sorting, recording))
    sorting.register_recording(recording)
    assert_same_sorting(back, sorting)


def test_round_trip_keeps_silent_last_segments(sorting):
    silent_at_the_end = sorting.select_units([8, 10])
    back = sorting_from_neo(to_neo(silent_at_the_end))
    assert_same_sorting(back, silent_at_the_end)
    assert [spikes.size for spikes in back.to_spike_vector(concatenated=False)] == [2, 0]


def test_round_trip_of_no_units_keeps_segments_times_and_integer_ids():
    empty = NumpySorting(np.zeros(0, minimum_spike_dtype), SAMPLING_FREQUENCY, np.zeros(0, "int64"))
    recording = make_recording([10], t_starts=[3.0])
    back = sorting_from_neo(to_neo(empty, recording))
    assert back.get_num_units() == 0
    assert back.unit_ids.dtype == np.int64
    assert back.sampling_frequency == SAMPLING_FREQUENCY
    assert back.get_start_time(0) == 3.0


def test_round_trip_with_a_time_vector_is_exact(sorting):
    recording = make_recording([1000, 10])
    times = 5.0 + np.cumsum(np.random.default_rng(0).uniform(0.5, 2.0, 1000)) / SAMPLING_FREQUENCY
    recording.set_times(times, segment_index=0)
    block = to_neo(sorting, recording)
    spike_train = block.segments[0].spiketrains[0]
    np.testing.assert_array_equal(spike_train.magnitude, times[[0, 10, 999]])
    assert spike_train.t_start.item() == times[0]
    assert spike_train.t_stop.item() > times[-1]
    sorting.register_recording(recording)
    assert_same_sorting(sorting_from_neo(block), sorting)


@settings(max_examples=30)
@given(
    trains=st.lists(
        st.lists(st.sets(st.integers(0, 10**9), min_size=1, max_size=5).map(sorted), min_size=2, max_size=2),
        min_size=1,
        max_size=3,
    ),
    sampling_frequency=st.floats(100.0, 50_000.0),
    t_start=st.floats(-1e6, 1e6),
    unit=st.sampled_from([pq.s, pq.ms, pq.us]),
)
def test_round_trip_is_exact_whatever_the_rate_start_and_unit(trains, sampling_frequency, t_start, unit):
    sorting = make_sorting(trains, [4, 2], sampling_frequency=sampling_frequency)
    sorting.shift_times(t_start)
    block = to_neo(sorting)
    rescaled = [[train.rescale(unit) for train in segment.spiketrains] for segment in block.segments]
    back = sorting_from_neo(rescaled, sampling_frequency=sampling_frequency)
    for segment_index in range(len(trains)):
        assert back.get_start_time(segment_index) == pytest.approx(t_start)
        for unit_id, samples in zip([4, 2], trains[segment_index], strict=True):
            assert back.get_unit_spike_train(unit_id, segment_index).tolist() == samples


def test_spike_trains_span_the_recording_and_have_its_rate(sorting):
    block = to_neo(sorting, make_recording([1000, 10], t_starts=[2.0, 0.0]))
    spike_train = block.segments[0].spiketrains[2]
    assert spike_train.t_start == 2.0 * pq.s
    assert spike_train.t_stop.item() == pytest.approx(2.0 + 1000 / SAMPLING_FREQUENCY)
    assert spike_train.sampling_rate == SAMPLING_FREQUENCY * pq.Hz
    assert spike_train.annotations == {
        "unit_id": 10, "main_channel_id": "a", "group": 1, "snr": 0.0, "good": True
    }  # fmt: skip


def test_a_group_holds_the_spike_trains_of_its_unit(sorting):
    block = to_neo(sorting)
    assert [group.annotations["unit_id"] for group in block.groups] == [7, 8, 10]
    assert [train.annotations["unit_id"] for train in block.groups[1].spiketrains] == [8, 8]
    assert block.groups[0].spiketrains[1] is block.segments[1].spiketrains[0]


def test_given_amplitudes_follow_their_spikes(sorting):
    amplitudes = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    block = to_neo(sorting, amplitudes=amplitudes)
    by_unit = [train.array_annotations["amplitude"].tolist() for train in block.segments[0].spiketrains]
    assert by_unit == [[1.0, 2.0, 5.0], [3.0, 4.0], []]
    assert block.segments[1].spiketrains[0].array_annotations["amplitude"].tolist() == [6.0]


def test_signals_come_back_as_the_recording(simulated):
    recording, sorting = simulated
    block = to_neo(sorting, recording, with_signals=True)
    back = recording_from_neo(block, probe=recording.get_probe())
    assert back.channel_ids.tolist() == recording.channel_ids.tolist()
    assert back.get_num_segments() == 2
    np.testing.assert_array_equal(back.get_channel_locations(), recording.get_channel_locations())
    for segment_index in range(2):
        np.testing.assert_array_equal(
            back.get_traces(segment_index, return_in_uV=True), recording.get_traces(segment_index, return_in_uV=True)
        )
    main_channel = sorting.get_property("main_channel_id")[0]
    (view, _) = block.groups[0].channelviews
    assert view.resolve().array_annotations["channel_ids"].tolist() == [main_channel]


@pytest.mark.parametrize("sparse", [True, False])
def test_analyzer_gives_recording_amplitudes_and_waveforms(simulated, sparse):
    recording, sorting = simulated
    analyzer = create_sorting_analyzer(sorting, recording, sparse=sparse)
    analyzer.compute({"random_spikes": {"max_spikes_per_unit": 5}, "templates": {}, "spike_amplitudes": {}})
    spike_train = to_neo(analyzer, with_waveforms=True).segments[1].spiketrains[0]
    assert spike_train.t_stop == 1.0 * pq.s
    assert spike_train.array_annotations["amplitude"].units == pq.uV
    assert spike_train.annotations["waveform_kind"] == "template"
    channels = recording.ids_to_indices(spike_train.annotations["waveform_channel_ids"])
    template = analyzer.get_extension("templates").get_unit_template(sorting.unit_ids[0])
    num_spikes = sorting.get_unit_spike_train(sorting.unit_ids[0], 1).size
    np.testing.assert_array_equal(spike_train.waveforms.magnitude, [template[:, channels].T] * num_spikes)
    assert_same_sorting(sorting_from_neo(to_neo(analyzer)), sorting)


def test_each_spike_has_its_own_waveform_where_all_were_extracted(simulated):
    recording, sorting = simulated
    analyzer = create_sorting_analyzer(sorting, recording, sparse=False)
    analyzer.compute({"random_spikes": {"method": "all"}, "waveforms": {}})
    spike_train = to_neo(analyzer, with_waveforms=True).segments[1].spiketrains[1]
    assert spike_train.annotations["waveform_kind"] == "spike"
    assert spike_train.left_sweep == 1.0 * pq.ms
    inside = [1, -2]
    samples = sorting.get_unit_spike_train(sorting.unit_ids[1], 1)[inside]
    for waveform, sample in zip(spike_train.waveforms.magnitude[inside], samples, strict=True):
        np.testing.assert_allclose(waveform, recording.get_traces(1, sample - 20, sample + 40).T, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"recording": make_recording([1000])}, "recording has 1 segments and the sorting 2"),
        ({"recording": make_recording([1000, 9], sampling_frequency=1e4)}, "sampled at 10000.0 Hz"),
        ({"recording": make_recording([999, 10])}, "1 spikes outside the 999 samples of segment 0"),
        ({"amplitudes": np.ones(5)}, r"shape \(5,\): must be \(6,\)"),
        ({"with_waveforms": True}, "a sorting holds no waveforms"),
        ({"with_signals": True}, "no recording to take signals from"),
    ],
)
def test_export_errors_say_what_to_do(sorting, arguments, message):
    with pytest.raises(ValueError, match=message):
        to_neo(sorting, **arguments)


def test_export_refuses_what_is_no_sorting_and_signals_with_a_time_vector(sorting):
    with pytest.raises(TypeError, match="NumpyRecording: must be a sorting"):
        to_neo(make_recording([10]))
    recording = make_recording([1000, 10])
    recording.set_times(np.arange(1000.0), segment_index=0)
    with pytest.raises(ValueError, match="segment 0 has a time vector"):
        to_neo(sorting, recording, with_signals=True)


def test_export_needs_templates_for_waveforms(simulated):
    recording, sorting = simulated
    analyzer = create_sorting_analyzer(sorting, recording, sparse=False)
    with pytest.raises(ValueError, match="neither 'templates' nor the 'waveforms'"):
        to_neo(analyzer, with_waveforms=True)


def make_signal(num_samples=50, *, units="uV", rate=10.0 * pq.kHz, t_start=100.0 * pq.ms, dtype="float64", **kwargs):
    samples = np.arange(num_samples * 2, dtype=dtype).reshape(num_samples, 2)
    return neo.AnalogSignal(samples, units, sampling_rate=rate, t_start=t_start, **kwargs)


@pytest.mark.parametrize(
    ("units", "gain"), [("uV", 1.0), ("mV", 1e3), ("V", 1e6), (pq.CompoundUnit("0.195*uV"), 0.195)]
)
def test_units_become_gains_and_samples_keep_their_dtype(units, gain):
    signal = make_signal(units=units, dtype="int16")
    recording = recording_from_neo(signal)
    assert recording.get_dtype() == np.dtype("int16")
    np.testing.assert_allclose(recording.get_channel_gains(), gain)
    np.testing.assert_allclose(recording.get_traces(return_in_uV=True), signal.rescale("uV").magnitude, rtol=1e-6)
    assert recording.get_start_time() == 0.1
    assert recording.sampling_frequency == 10_000.0


def test_dimensionless_signals_have_no_gain():
    assert not recording_from_neo(make_signal(units="dimensionless")).has_scaleable_traces()


def test_signals_are_put_side_by_side_with_their_own_gains():
    first = make_signal(array_annotations={"channel_names": ["a", "b"]})
    second = make_signal(units="mV", rate=1 / (0.1 * pq.ms), array_annotations={"channel_names": ["c", "d"]})
    segment = neo.Segment()
    segment.analogsignals.extend([first, second])
    recording = recording_from_neo(segment)
    assert recording.channel_ids.tolist() == ["a", "b", "c", "d"]
    np.testing.assert_allclose(recording.get_channel_gains(), [1.0, 1.0, 1e3, 1e3])
    np.testing.assert_array_equal(recording.get_traces(), np.hstack([first.magnitude, second.magnitude]))


def test_channel_ids_are_unique_whatever_the_names():
    clashing = [make_signal(array_annotations={"channel_names": ["a", "b"], "channel_ids": [1, 2]}) for _ in range(2)]
    assert recording_from_neo(clashing).channel_ids.tolist() == [0, 1, 2, 3]
    clashing[1].array_annotations["channel_ids"] = np.array([5, 6])
    assert recording_from_neo(clashing).channel_ids.tolist() == [1, 2, 5, 6]
    named = [make_signal(name=name)[:, :1] for name in ("left", "right")]
    assert recording_from_neo(named).channel_ids.tolist() == ["left", "right"]


def test_segments_of_neo_are_segments_of_the_recording():
    block = neo.Block()
    for index in range(2):
        segment = neo.Segment()
        segment.analogsignals.append(make_signal(50 + index, t_start=index * pq.s, dtype=("int16", "float32")[index]))
        block.segments.append(segment)
    recording = recording_from_neo(block)
    assert [recording.get_num_samples(index) for index in range(2)] == [50, 51]
    assert [recording.get_start_time(index) for index in range(2)] == [0.0, 1.0]
    assert recording_from_neo([segment.analogsignals for segment in block.segments]).get_num_segments() == 2


def test_lazy_objects_are_loaded():
    block = neo.io.ExampleIO("fake").read_block(lazy=True)
    recording = recording_from_neo([segment.analogsignals[:1] for segment in block.segments])
    sorting = sorting_from_neo(block, sampling_frequency=10_000.0)
    for index, segment in enumerate(block.segments):
        np.testing.assert_array_equal(recording.get_traces(index), segment.analogsignals[0].load().magnitude)
        start_s = segment.analogsignals[0].t_start.rescale("s").item()
        for unit_id, lazy in zip(sorting.unit_ids, segment.spiketrains, strict=True):
            times_s = lazy.load().rescale("s").magnitude - start_s
            np.testing.assert_allclose(sorting.get_unit_spike_train(unit_id, index) / 10_000.0, times_s, atol=6e-5)
    assert recording.get_num_segments() == sorting.get_num_segments() == 2


@pytest.mark.parametrize("as_group", [False, True])
def test_probes_and_probe_groups_are_attached(as_group):
    probe = generate_linear_probe(2)
    probe.set_device_channel_indices([1, 0])
    group = ProbeGroup()
    group.add_probe(probe)
    recording = recording_from_neo(make_signal(), probe=group if as_group else probe)
    np.testing.assert_array_equal(recording.get_channel_locations(), probe.contact_positions[::-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": 5 * pq.kHz}, "5000.0 Hz from 0.1 s, 50 samples"),
        ({"t_start": 0.2 * pq.s}, "from 0.2 s"),
        ({"num_samples": 49}, "49 samples"),
        ({"units": "dimensionless"}, "voltages and dimensionless"),
        ({"units": "pA"}, "signal 'clamp' in pA: must be a voltage"),
    ],
)
def test_signals_that_do_not_belong_together_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        recording_from_neo([make_signal(), make_signal(**change, name="clamp")])


def test_segments_must_agree_and_have_signals():
    with pytest.raises(ValueError, match=r"sampling_frequency = 10000.0 in segment 0 and 5000.0 in segment 1"):
        recording_from_neo([[make_signal()], [make_signal(rate=5 * pq.kHz)]])
    with pytest.raises(ValueError, match="no AnalogSignal in segment 0"):
        recording_from_neo(neo.Segment())
    with pytest.raises(TypeError, match="ndarray: must be a neo.Block"):
        recording_from_neo(np.zeros((3, 2)))


def test_probes_that_do_not_fit_are_refused():
    probe = generate_linear_probe(2)
    with pytest.raises(ValueError, match=r"call probe.set_device_channel_indices\(range\(2\)\)"):
        recording_from_neo(make_signal(), probe=probe)
    with pytest.raises(ValueError, match="give probe.to_2d"):
        recording_from_neo(make_signal(), probe=probe.to_3d())
    tetrode = generate_tetrode()
    tetrode.set_device_channel_indices(range(4))
    with pytest.raises(ValueError, match="each of the 2 channels"):
        recording_from_neo(make_signal(), probe=tetrode)
    with pytest.raises(TypeError, match="probe = str"):
        recording_from_neo(make_signal(), probe="tetrode")


def make_train(times, **annotations):
    return neo.SpikeTrain(times, units="ms", t_start=0.0, t_stop=1000.0, **annotations)


def test_spike_trains_of_other_programs_are_numbered_and_keep_common_annotations():
    trains = [make_train([1.0, 2.5], quality="good", depth=3.0), make_train([2.0], quality="bad", depth=None)]
    sorting = sorting_from_neo(trains, sampling_frequency=1000.0)
    assert sorting.unit_ids.tolist() == [0, 1]
    assert sorting.unit_ids.dtype == np.int64
    assert sorting.get_unit_spike_train(0).tolist() == [1, 2]
    assert sorting.get_property("quality").tolist() == ["good", "bad"]
    assert sorting.get_property_keys() == ["quality"]


def test_sample_zero_is_the_start_of_the_signals():
    segment = neo.Segment()
    segment.analogsignals.append(make_signal(t_start=1 * pq.ms))
    segment.spiketrains.append(make_train([2.0, 3.0]))
    sorting = sorting_from_neo(segment, sampling_frequency=10_000.0)
    assert sorting.get_unit_spike_train(0).tolist() == [10, 20]
    segment.spiketrains[0] = make_train([0.5])
    with pytest.raises(ValueError, match="a spike at 0.0005 s in a segment whose signals start at 0.001 s"):
        sorting_from_neo(segment, sampling_frequency=10_000.0)


def test_units_missing_in_a_segment_are_silent_there():
    sorting = sorting_from_neo(
        [[make_train([1.0], unit_id="a")], [make_train([2.0], unit_id="b")]], sampling_frequency=1000.0
    )
    assert sorting.unit_ids.tolist() == ["a", "b"]
    assert sorting.get_unit_spike_train("b", 0).size == 0


def test_whole_unit_ids_become_integers_and_others_are_refused():
    assert sorting_from_neo([make_train([1.0], unit_id=3.0)], sampling_frequency=1000.0).unit_ids.dtype == np.int64
    with pytest.raises(ValueError, match="unit_id = 0.5 on a spike train: must be an integer or a string"):
        sorting_from_neo([make_train([1.0], unit_id=0.5)], sampling_frequency=1000.0)


def test_sorting_errors_say_what_to_do():
    with pytest.raises(ValueError, match="carry no sampling rate; give the sampling frequency"):
        sorting_from_neo([make_train([1.0])])
    with pytest.raises(ValueError, match="sampling_frequency = 0: must be positive"):
        sorting_from_neo([make_train([1.0])], sampling_frequency=0)
    with pytest.raises(ValueError, match="two spike trains with unit_id = 3 in segment 0"):
        sorting_from_neo([make_train([1.0], unit_id=3)] * 2, sampling_frequency=1000.0)
    with pytest.raises(ValueError, match=r"\[1, 2\] spike trains in its segments"):
        sorting_from_neo([[make_train([1.0])], [make_train([1.0])] * 2], sampling_frequency=1000.0)
    with pytest.raises(TypeError, match="NumpyRecording: must be a neo.Block"):
        sorting_from_neo(make_recording([10]))
