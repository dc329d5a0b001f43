"""Every quantity that enters from neo is taken in its unit, or refused with its name, its value and what to give."""

import types
from fractions import Fraction

import neo
import numpy as np
import pytest
import quantities as pq
from hypothesis import example, given
from hypothesis import strategies as st
from spikeinterface.core import NumpySorting

from si_crsae.io.neo import recording_from_neo, sorting_from_neo, to_neo
from si_crsae.io.neo_numbers import number_in, rate_in_hz

TIMES_S = [0.1, 0.25]
FREQUENCIES = [
    pq.Hz,
    pq.kHz,
    pq.MHz,
    1 / pq.s,
    1 / pq.ms,
    1 / pq.us,
    pq.CompoundUnit("1/ms"),
    pq.CompoundUnit("30*kHz"),
]
OTHERS = [pq.s, pq.ms, pq.V, pq.uV, pq.m, pq.dimensionless, pq.percent, pq.degC, pq.kHz**2]
WRAPPED = [
    lambda quantity: quantity,
    lambda quantity: quantity.reshape(1),
    lambda quantity: quantity.reshape(1, 1).astype("float64"),
    lambda quantity: [quantity],
    lambda quantity: (quantity.reshape(1),),
]
PLAIN = [
    *(float, np.float64, np.longdouble, str, lambda rate: str(rate).encode(), np.array),
    *(lambda rate: [rate], lambda rate: np.array([rate]), lambda rate: np.array([[rate]])),
]
# What a rate is called in each place where one can come in.
PLACES = ["sampling_frequency", "annotation sampling_frequency of a segment", "sampling_rate of a spike train 'four'",
          "sampling_rate of a signal 'field'"]  # fmt: skip


def make_train(**attributes):
    train = neo.SpikeTrain(TIMES_S * pq.s, t_stop=1 * pq.s, name="four")
    for name, value in attributes.items():
        setattr(train, name, value)
    return train


def make_signal(**attributes):
    return neo.AnalogSignal(np.zeros((9, 2)), "uV", name="field", **{"sampling_rate": 10 * pq.kHz, **attributes})


def import_rate(place, rate):
    """Return what becomes of a rate that comes in at one of the places."""
    if "signal" in place:
        return recording_from_neo(make_signal(sampling_rate=rate))
    segment = neo.Segment()
    segment.spiketrains.append(make_train(sampling_rate=rate) if "train" in place else make_train())
    if "annotation" in place:
        segment.annotate(sampling_frequency=rate)
    return sorting_from_neo(segment, sampling_frequency=rate if place == "sampling_frequency" else None)


def test_30_khz_are_30000_hz():
    sorting = sorting_from_neo([make_train()], sampling_frequency=30 * pq.kHz)
    assert sorting.sampling_frequency == 30_000.0
    assert sorting.get_unit_spike_train(0).tolist() == [3000, 7500]


@given(
    rate=st.floats(2.0, 1e6),
    unit=st.sampled_from(FREQUENCIES),
    wrap=st.sampled_from(WRAPPED),
    place=st.sampled_from(PLACES),
)
def test_rates_are_taken_in_their_unit_wherever_they_come_in(rate, unit, wrap, place):
    quantity = (rate * pq.Hz).rescale(unit)
    imported = import_rate(place, quantity if "signal" in place else wrap(quantity))
    assert imported.sampling_frequency == pytest.approx(rate, rel=1e-12)
    if isinstance(imported, NumpySorting):
        assert imported.get_unit_spike_train(0) == pytest.approx(np.round(np.multiply(TIMES_S, rate)), abs=1)


@given(rate=st.floats(2.0, 1e6), wrap=st.sampled_from(PLAIN), place=st.sampled_from(PLACES[:3]))
def test_plain_numbers_are_hz_whatever_their_type(rate, wrap, place):
    assert import_rate(place, wrap(rate)).sampling_frequency == rate


@pytest.mark.parametrize("rate", [np.int64(30_000), np.uint16(30_000), np.float32(30_000), 30_000, np.array(30_000),
                                  Fraction(30_000), np.array([30_000], dtype=object),
                                  np.array([30 * pq.kHz, None], dtype=object)[:1]])  # fmt: skip
def test_numbers_of_other_types_are_numbers_too(rate):
    assert rate_in_hz(rate, name="rate") == 30_000.0


@given(size=st.floats(0.1, 1e6), unit=st.sampled_from(OTHERS), wrap=st.sampled_from(WRAPPED))
def test_what_is_no_frequency_is_refused_with_its_unit(size, unit, wrap):
    for place in PLACES[:3]:
        with pytest.raises(ValueError, match=f"^{place} = .*: .* cannot be converted to Hz; give it in Hz") as caught:
            import_rate(place, wrap(size * unit))
        assert str(unit.dimensionality) in str(caught.value)


@given(rate=st.floats(-1e300, 0.0) | st.just(float("nan")) | st.just(float("inf")), in_khz=st.booleans())
@example(rate=-30.0, in_khz=True)
def test_rates_that_are_not_positive_or_not_finite_are_refused(rate, in_khz):
    for place in PLACES:
        value = rate * pq.kHz if in_khz or "signal" in place else rate
        with pytest.raises(ValueError, match=f"^{place} = .*: must be (positive|finite); give it in Hz"):
            import_rate(place, value)


def astropy_like():
    """Like a quantity of astropy: with a unit, which is lost when it becomes an array."""
    return types.SimpleNamespace(unit="kHz", __array__=lambda *_: np.array(30.0))


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("30 kHz", ValueError, "= '30 kHz': must be one finite number; give it in Hz, or as a quantity"),
        ("", ValueError, "must be one finite number"),
        (10**400, ValueError, "must be one finite number"),
        ([30_000, 30_000], ValueError, "must be one number"),
        ([], ValueError, "must be one number|must be a number"),
        ([30, 30] * pq.kHz, ValueError, "must be one real number"),
        (30j * pq.kHz, ValueError, "must be one real number"),
        (True, TypeError, "= True: must be a number or a quantity"),
        (30j, TypeError, "must be a number or a quantity"),
        ({"rate": 30_000}, TypeError, "must be a number or a quantity"),
        (np.timedelta64(3, "s"), TypeError, "must be a number or a quantity"),
        (
            astropy_like(),
            TypeError,
            "rate is a SimpleNamespace with units: must be numbers or one quantity of the package",
        ),
        ([1 * pq.kHz, 1 * pq.Hz], TypeError, "rate is a list with units"),
    ],
)
def test_what_could_be_misread_is_refused(value, error, message):
    with pytest.raises(error, match=message):
        rate_in_hz(value, name="rate")


@given(
    start=st.floats(-1e4, 1e4),
    unit=st.sampled_from([pq.s, pq.ms, pq.us, pq.min, pq.h, pq.CompoundUnit("1/30*ms")]),
    wrap=st.sampled_from(WRAPPED),
)
def test_starts_are_taken_in_their_unit(start, unit, wrap):
    quantity = (start * pq.s).rescale(unit)
    assert recording_from_neo(make_signal(t_start=quantity)).get_start_time() == pytest.approx(start)
    segment = neo.Segment(t_start_s=wrap(quantity), sampling_frequency=1e3)
    assert sorting_from_neo(segment).get_start_time(0) == pytest.approx(start)


@pytest.mark.parametrize("start", [np.nan, np.inf, -np.inf])
def test_starts_that_are_not_finite_are_refused(start):
    with pytest.raises(ValueError, match="t_start of a signal 'field' = .*: must be finite; give it in s"):
        recording_from_neo(make_signal(t_start=start * pq.s))
    with pytest.raises(ValueError, match="t_start of a spike train 'four' = .*: must be finite; give it in s"):
        sorting_from_neo([make_train(t_start=start * pq.s)], sampling_frequency=1e3)
    with pytest.raises(ValueError, match="annotation t_start_s of a segment = .*: must be finite"):
        sorting_from_neo(neo.Segment(t_start_s=start), sampling_frequency=1e3)


def test_a_start_that_is_no_time_is_refused_with_its_unit():
    with pytest.raises(ValueError, match=r"t_start of a spike train 'four' = 3.0 mV: mV cannot be converted to s"):
        sorting_from_neo([make_train(t_start=3 * pq.mV)], sampling_frequency=1e3)
    with pytest.raises(ValueError, match=r"annotation t_start_s of a segment = 3.0 mV: mV cannot be converted to s"):
        sorting_from_neo(neo.Segment(t_start_s=3 * pq.mV), sampling_frequency=1e3)


@given(samples=st.lists(st.integers(0, 10**8), min_size=1, max_size=5, unique=True).map(sorted), unit=st.sampled_from(
    [pq.s, pq.ms, pq.us, pq.min, pq.CompoundUnit("1/30000*s")]))  # fmt: skip
def test_times_in_any_unit_become_the_same_samples(samples, unit):
    times = (np.array(samples) / 30_000 * pq.s).rescale(unit)
    train = neo.SpikeTrain(times, t_stop=1e9 * pq.s)
    assert sorting_from_neo([train], sampling_frequency=30 * pq.kHz).get_unit_spike_train(0).tolist() == samples


@pytest.mark.parametrize("dtype", ["int64", "int16", "float32", "float64"])
def test_times_keep_their_precision_whatever_their_type(dtype):
    train = neo.SpikeTrain(np.array([1, 2**14 - 1], dtype), units="ms", t_stop=30_000, dtype=dtype)
    assert sorting_from_neo([train], sampling_frequency=30_000).get_unit_spike_train(0).tolist() == [30, 491_490]


@pytest.mark.parametrize("time", [np.nan, np.inf])
def test_times_that_are_not_finite_are_refused(time):
    train = neo.SpikeTrain([1.0, time], units="s", t_stop=np.inf, name="four")
    with pytest.raises(ValueError, match="a spike train 'four' with 1 times that are NaN or infinite: take them out"):
        sorting_from_neo([train], sampling_frequency=1e3)


def test_times_beyond_all_samples_are_refused():
    train = neo.SpikeTrain([1e18], units="s", t_stop=1e19)
    with pytest.raises(ValueError, match=r"must be whole numbers from 0 to 2\*\*63; check .* the sampling frequency"):
        sorting_from_neo([train], sampling_frequency=1e3)


@pytest.mark.parametrize("samples", [[-1, 5], [0.5, 1.0], [np.nan, 1.0], ["a", "b"]])
def test_samples_of_files_that_are_none_are_refused(samples):
    train = make_train(array_annotations=neo.core.dataobject.ArrayDict(2, sample_index=np.array(samples)))
    with pytest.raises(ValueError, match="must be whole numbers from 0 to .*check its array annotation sample_index"):
        sorting_from_neo([train], sampling_frequency=1e3)


def test_samples_of_a_file_are_not_taken_for_those_of_another_rate():
    train = make_train(sampling_rate=10 * pq.kHz)
    train.array_annotate(sample_index=np.array([7, 8]))
    assert sorting_from_neo([train]).get_unit_spike_train(0).tolist() == [7, 8]
    assert sorting_from_neo([train], sampling_frequency=20_000.0).get_unit_spike_train(0).tolist() == [2000, 5000]


def test_an_explicit_rate_is_used_whatever_the_trains_carry():
    trains = [make_train(sampling_rate=np.nan * pq.Hz)]
    assert sorting_from_neo(trains, sampling_frequency=1e3).sampling_frequency == 1e3


@pytest.mark.parametrize("unit", ["0*uV", "1e400*uV"])
def test_gains_that_lose_the_signal_are_refused(unit):
    signal = make_signal()
    signal = neo.AnalogSignal(np.zeros((9, 2)), pq.CompoundUnit(unit), sampling_rate=1 * pq.kHz, name="field")
    with pytest.raises(ValueError, match="a signal 'field' in units of (0.0|inf) uV: must be finite and not 0"):
        recording_from_neo(signal)


@pytest.mark.parametrize("dtype", ["complex128", "bool"])
def test_signals_that_are_no_real_numbers_are_refused(dtype):
    signal = neo.AnalogSignal(np.zeros((9, 2), dtype), "uV", sampling_rate=1 * pq.kHz)
    with pytest.raises(ValueError, match=f"a signal of {dtype}: must be integers or floats"):
        recording_from_neo(signal)


def test_segments_whose_rates_differ_by_rounding_are_one_recording():
    signals = [[make_signal()], [make_signal(sampling_rate=1 / (0.1 * pq.ms))]]
    assert recording_from_neo(signals).get_num_segments() == 2


def test_amplitudes_with_units_keep_them_or_are_refused():
    sorting = NumpySorting.from_unit_dict([{1: np.array([5, 50])}], 1000.0)
    for amplitudes in ([1.0, 2.0] * pq.mV, [1.0, 2.0]):
        (train,) = to_neo(sorting, amplitudes=amplitudes).segments[0].spiketrains
        kept = train.array_annotations["amplitude"]
        assert getattr(kept, "units", None) == getattr(amplitudes, "units", None)
        assert np.asarray(kept).tolist() == [1.0, 2.0]
    with pytest.raises(TypeError, match="amplitudes is a list with units: must be numbers or one quantity"):
        to_neo(sorting, amplitudes=[1.0 * pq.uV, 2.0 * pq.mV])


@pytest.mark.parametrize("rate", [-1000.0, 0.0, np.nan])
def test_a_sorting_with_an_impossible_rate_is_not_exported(rate):
    sorting = NumpySorting.from_unit_dict([{1: np.array([5, 50])}], rate)
    with pytest.raises(ValueError, match="sampling_frequency of NumpySorting = .*: must be (positive|finite)"):
        to_neo(sorting)


def test_a_time_vector_with_nan_is_not_exported():
    sorting = NumpySorting.from_unit_dict([{1: np.array([5, 50])}], 1000.0)
    from spikeinterface.core import NumpyRecording

    recording = NumpyRecording([np.zeros((100, 1))], 1000.0)
    recording.set_times(np.where(np.arange(100) == 50, np.nan, np.arange(100.0)), segment_index=0)
    with pytest.raises(ValueError, match=r"times in segment 0 that are NaN or infinite: set others"):
        to_neo(sorting, recording)


def test_numbers_in_seconds_are_taken_as_they_are():
    assert number_in("s", -1.5, name="start") == -1.5
