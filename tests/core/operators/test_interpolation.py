"""Claims about values between samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from si_crsae.core.operators.interpolation import WEIGHTS, value_between

HIGHEST = 0.25  # cycles per sample
offsets = st.integers(-32, 32).map(lambda phase: np.float32(phase / 32))


@given(frequency=st.floats(0, HIGHEST), phase=st.floats(0, 6.3), position=st.integers(5, 40), offset=offsets)
def test_a_band_limited_signal_is_known_between_its_samples(frequency, phase, position, offset):
    def signal(time):
        return np.cos(2 * np.pi * frequency * time + phase)

    values = signal(np.arange(50.0)).astype("float32")
    assert value_between(values, position, offset) == pytest.approx(signal(position + offset), abs=2e-3)


@given(position=st.integers(0, 19))
def test_without_an_offset_the_sample_itself_is_returned(position):
    values = np.random.default_rng(0).standard_normal(20).astype("float32")
    assert value_between(values, position, np.float32(0)) == values[position]
    assert value_between(values, position - 1, np.float32(1)) == pytest.approx(values[position], abs=1e-6)


@pytest.mark.parametrize("position", [-20, -5, 14, 40])
@pytest.mark.parametrize("offset", [0, -0.5, 0.25])
def test_beyond_the_ends_there_is_nothing(position, offset):
    assert value_between(np.ones(10, "float32"), position, np.float32(offset)) == 0


def test_a_constant_stays_as_it_is():
    np.testing.assert_allclose(WEIGHTS.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(WEIGHTS[0], [0, 0, 0, 1, 0, 0, 0, 0])
