"""Claims about the Gram as compiled functions take it."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from si_crsae.core import Gram
from si_crsae.core.operators.gram import Pairs, Similar, correlation_at

WIDTH = 6
OCCUPIED = [[1, 0, 0], [1, 1, 0], [0, 1, 1]]  # the first and the last atom share no channel


@settings(max_examples=20)
@given(seed=st.integers(0, 2**16), first=st.integers(0, 2), second=st.integers(0, 2), lag=st.integers(-9, 9))
def test_the_correlation_at_a_lag_is_that_of_the_delayed_atoms(draw_dictionary, seed, first, second, lag):
    dictionary = draw_dictionary(seed, shape=(3, 3, 3), occupied=OCCUPIED)
    pairs, atoms = Gram.of(dictionary).pairs, np.zeros((2, 3, 4 * WIDTH), "float32")
    atoms[0, :, 10 : 10 + WIDTH] = dictionary.atoms[first]
    atoms[1, :, 10 + lag : 10 + lag + WIDTH] = dictionary.atoms[second]
    found = correlation_at(pairs.values, pairs.pair_index, first, second, lag)
    np.testing.assert_allclose(found, (atoms[0] * atoms[1]).sum(), atol=1e-6)


def test_the_named_tuples_hold_the_arrays_of_the_gram(draw_dictionary):
    gram = Gram.of(draw_dictionary(0))
    assert type(gram.pairs) is Pairs
    assert type(gram.similar) is Similar
    for name, array in gram.pairs._asdict().items():
        assert array is getattr(gram, name)
    for name, array in gram.similar._asdict().items():
        assert array is getattr(gram, f"similar_{name}")
