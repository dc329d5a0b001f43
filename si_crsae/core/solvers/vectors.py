"""Greedy coordinate descent on codes of a single position: vectors, which have no neighbors in time."""

from typing import no_type_check

import numpy as np

from si_crsae.core.compiled import compile_loops

# Where rounding hands the same part of a code to and fro forever; a descent that ends takes far fewer.
_MAX_UPDATES_PER_ATOM = 100


@compile_loops(reorder_sums=True)
@no_type_check
def _measure_steps(steps, residual, code, thresholds):
    """Fill `steps` with the change that every coefficient asks for, and return the largest in size.

    Positive floats are in the order of their bits, and a maximum of integers is sought in vectors.
    """
    largest = np.int32(0)
    for atom in range(residual.size):
        value = residual[atom] + code[atom]
        above = max(value - thresholds[atom, 0], np.float32(0.0))
        below = min(value + thresholds[atom, 1], np.float32(0.0))
        steps[atom] = above + below - code[atom]
        largest = max(largest, np.float32(abs(steps[atom])).view(np.int32))
    return np.int32(largest).view(np.float32)


@compile_loops(reorder_sums=True)
@no_type_check
def _take_out(residual, row, amplitude):
    for atom in range(residual.size):
        residual[atom] -= amplitude * row[atom]


@compile_loops()
@no_type_check
def descend_vectors(maps, thresholds, gram, tolerances, codes):
    """Minimize ``1/2 x^T G x - b^T x`` plus a weighted l1 norm, for many vectors ``b``.

    The coefficient that would move most is moved to its minimum, again and again.

    Parameters
    ----------
    maps : ndarray of float32, shape (batch, atom)
        ``b``; on return what the codes leave of it.
    thresholds : ndarray of float32, shape (atom, 2)
        Lambda of each atom for positive and for negative coefficients; inf for the sign that is not allowed.
    gram : ndarray of float32, shape (atom, atom)
        ``G``, with ones on its diagonal.
    tolerances : ndarray of float32, shape (batch,)
        No coefficient is further than this from its minimum, the others fixed.
    codes : ndarray of float32, shape (batch, atom)
        Zeros; filled with the minimizers.
    """
    steps = np.empty(maps.shape[1], np.float32)
    for vector in range(maps.shape[0]):
        residual, code = maps[vector], codes[vector]
        for _ in range(_MAX_UPDATES_PER_ATOM * residual.size):
            largest = _measure_steps(steps, residual, code, thresholds)
            if largest <= tolerances[vector]:
                break
            atom = 0
            while atom < residual.size - 1 and abs(steps[atom]) != largest:
                atom += 1
            code[atom] += steps[atom]
            _take_out(residual, gram[atom], steps[atom])
