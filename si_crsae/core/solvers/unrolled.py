"""The unrolled encoder on the correlation map: the same FISTA as `fista_solve`, at the price of what is not zero.

With ``g = H^T y`` and the correlations of the atoms, an iteration is ``x_t = S(w_t + (g - H^T H w_t) / L)``. Only the
few coefficients that are not zero enter the product, and only they carry a gradient backwards.
"""

from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from si_crsae.core.compiled import compile_loops
from si_crsae.core.solvers.fista import next_momentum
from si_crsae.core.threads import WINDOWS_PER_TASK, in_threads


def unroll(
    correlation: Float[Tensor, "batch atom shift"],
    lags: Float[Tensor, "atom atom lag"],
    regularization: Float[Tensor, " atom"],
    *,
    num_iterations: int,
    step_size: float,
    nonnegative: bool = False,
) -> Float[Tensor, "batch atom shift"]:
    """Return the code of `fista_solve` after some iterations, differentiable as that one is, found on the CPU.

    Parameters
    ----------
    correlation : Tensor, shape (batch, atom, shift)
        ``correlate(traces, atoms)``, float32 or float64.
    lags : Tensor, shape (atom, atom, 2 * width - 1)
        ``atom_correlations(atoms)``.
    regularization : Tensor, shape (atom,)
        Non-negative weight of the l1 norm of each atom's code, in whitened units.
    num_iterations : int
        Depth of the encoder.
    step_size : float
        At most the inverse of `lipschitz_bound`; a constant for the gradient.
    nonnegative : bool, default: False
        If True, the code is kept at or above zero.

    Returns
    -------
    Tensor, shape (batch, atom, shift)
        The code; its gradient reaches all three tensors, and through them the traces and the atoms.

    Notes
    -----
    Time grows with the coefficients that are not zero; memory too, times the iterations, where a gradient is wanted.

    References
    ----------
    .. [1] Tolooshams, Dey and Ba, "Deep residual auto-encoders for expectation maximization-based dictionary
       learning", IEEE TNNLS, 2021, Algorithms 1 to 3 and Appendix.
    """
    return _Unrolled.apply(correlation, lags, regularization, num_iterations, step_size, nonnegative)


class _Unrolled(torch.autograd.Function):
    """Algorithm 1 forwards, Algorithms 2 and 3 backwards, window by window."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        correlation, lags, regularization, num_iterations, step_size, nonnegative = inputs
        tensors = (correlation, lags, step_size * regularization)
        maps, pairs, thresholds = (np.ascontiguousarray(tensor.detach().cpu().numpy()) for tensor in tensors)
        momenta = _momenta(num_iterations).astype(maps.dtype)
        step = maps.dtype.type(step_size)
        keep = any(ctx.needs_input_grad)
        code = np.empty_like(maps)

        def encode(windows: slice) -> tuple[np.ndarray, ...]:
            settings = (momenta, step, nonnegative, keep)
            return _encode(maps[windows], pairs, thresholds, settings, code[windows])

        ctx.paths = list(in_threads(encode, len(maps)))
        ctx.pairs, ctx.settings = pairs, (momenta, step)
        return torch.from_numpy(code).to(correlation.device)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        code_gradient = np.ascontiguousarray(gradients[0].cpu().numpy())
        map_gradient = np.zeros_like(code_gradient)

        def differentiate(windows: slice) -> tuple[np.ndarray, np.ndarray]:
            path = ctx.paths[windows.start // WINDOWS_PER_TASK]
            sums = np.zeros_like(ctx.pairs), np.zeros(code_gradient.shape[1], code_gradient.dtype)
            _differentiate(code_gradient[windows], path, ctx.pairs, ctx.settings, (map_gradient[windows], *sums))
            return sums

        sums = list(in_threads(differentiate, len(code_gradient)))
        lag_gradient = sum((lag for lag, _ in sums), np.zeros_like(ctx.pairs))
        no_threshold = np.zeros(len(ctx.pairs), code_gradient.dtype)
        threshold_gradient = sum((threshold for _, threshold in sums), no_threshold)
        step = ctx.settings[1]
        reached = (map_gradient, lag_gradient, step * threshold_gradient)
        return (*(torch.from_numpy(gradient).to(gradients[0].device) for gradient in reached), None, None, None)


def _momenta(num_iterations: int) -> Float[np.ndarray, " iteration"]:
    """Return the weight of the last step in each extrapolation: ``(s_{t-1} - 1) / s_t``."""
    momenta = np.zeros(num_iterations)
    momentum = 1.0
    for iteration in range(1, num_iterations):
        following = next_momentum(momentum)
        momenta[iteration] = (momentum - 1.0) / following
        momentum = following
    return momenta


@compile_loops(reorder_sums=True)
@no_type_check
def _advance(maps, codes, products, threshold, settings):
    """Write the next code of one atom over the code before the last: lines 4 to 6 of Algorithm 1."""
    (last, before), (last_product, before_product) = codes, products
    momentum, step, nonnegative = settings
    one = momentum + 1
    zero = momentum - momentum
    lowest = zero if nonnegative else -threshold
    for shift in range(maps.size):
        start = one * last[shift] - momentum * before[shift]
        product = one * last_product[shift] - momentum * before_product[shift]
        value = start + step * (maps[shift] - product)
        if nonnegative:
            before[shift] = max(value - threshold, zero)
        else:
            before[shift] = value - min(max(value, lowest), threshold)


@compile_loops()
@no_type_check
def _collect(code, positions, values, count):
    """Append where one atom's code is not zero, and its values; returns how many there are now."""
    for shift in range(code.size):
        if code[shift] != 0:
            positions[count] = shift
            values[count] = code[shift]
            count += 1
    return count


@compile_loops(reorder_sums=True)
@no_type_check
def _fill_product(product, pairs, positions, values, bounds):
    """Fill the product of ``H^T H`` with a code given by what is not zero."""
    num_atoms, num_shifts = product.shape
    reach = pairs.shape[2] // 2
    product[:] = 0
    for atom in range(num_atoms):
        for entry in range(bounds[atom], bounds[atom + 1]):
            start = max(positions[entry] - reach, 0)
            end = min(positions[entry] + reach + 1, num_shifts)
            offset = start - positions[entry] + reach
            value = values[entry]
            for other in range(num_atoms):
                target = product[other, start:end]
                row = pairs[atom, other, offset : offset + end - start]
                for position in range(target.size):
                    target[position] += value * row[position]


@compile_loops()
@no_type_check
def _iterate(window_map, codes, products, thresholds, settings, found):
    """Write the next code of all atoms over the code before the last, and collect what is not zero.

    `found` are the positions, the values, how many there are already, and where each atom's begin, which is filled.
    """
    positions, values, count, bounds = found
    for atom in range(thresholds.size):
        pair = (codes[0][atom], codes[1][atom])
        _advance(window_map[atom], pair, (products[0][atom], products[1][atom]), thresholds[atom], settings)
        bounds[atom] = count
        count = _collect(codes[1][atom], positions, values, count)
    bounds[thresholds.size] = count
    return count


@compile_loops()
@no_type_check
def _encode(maps, pairs, thresholds, settings, final):
    """Run the encoder on some windows and write their codes to `final`.

    Returns the path of every window: after each iteration, where each atom's coefficients that are not zero begin,
    their positions and their values. Unless it is to be kept, it holds nothing of use.
    """
    momenta, step, nonnegative, keep = settings
    num_windows, num_atoms, num_shifts = maps.shape
    bounds = np.zeros((num_windows, momenta.size + 1, num_atoms + 1), np.int64)
    room = num_atoms * num_shifts
    positions, values = np.empty(2 * room, np.int32), np.empty(2 * room, maps.dtype)
    count = 0
    for window in range(num_windows):
        last, before = np.zeros_like(maps[window]), np.zeros_like(maps[window])
        last_product, before_product = np.zeros_like(maps[window]), np.zeros_like(maps[window])
        bounds[window, 0] = count
        for iteration in range(momenta.size):
            if not keep:
                count = 0
            elif count + room > positions.size:
                positions, values = _doubled(positions), _doubled(values)
            current = bounds[window, iteration + 1]
            advance = (momenta[iteration], step, nonnegative)
            found = (positions, values, count, current)
            count = _iterate(maps[window], (last, before), (last_product, before_product), thresholds, advance, found)
            last, before = before, last
            last_product, before_product = before_product, last_product
            _fill_product(last_product, pairs, positions, values, current)
        final[window] = last
    return bounds, positions[:count].copy(), values[:count].copy()


@compile_loops()
@no_type_check
def _doubled(array):
    """Return the array with as much room again."""
    longer = np.empty(2 * array.size, array.dtype)
    longer[: array.size] = array
    return longer


@compile_loops()
@no_type_check
def _differentiate(code_gradient, path, pairs, settings, outputs):
    """Add the gradients of some windows: Algorithms 2 and 3, on what is not zero.

    `outputs` are the gradients with respect to the maps (window, atom, shift), the pairs (atom, atom, lag) and the
    thresholds (atom,), to which it adds.
    """
    bounds, positions, values = path
    momenta, step = settings
    map_gradient, lag_gradient, threshold_gradient = outputs
    num_windows, num_atoms = map_gradient.shape[:2]
    for window in range(num_windows):
        first = bounds[window, 0, 0]
        last = bounds[window, momenta.size, num_atoms]
        adjoint = np.zeros(last - first, values.dtype)
        for atom in range(num_atoms):
            for entry in range(bounds[window, momenta.size, atom], bounds[window, momenta.size, atom + 1]):
                adjoint[entry - first] = code_gradient[window, atom, positions[entry]]
        for iteration in range(momenta.size, 0, -1):
            here = bounds[window, iteration]
            for atom in range(num_atoms):
                for entry in range(here[atom], here[atom + 1]):
                    change = adjoint[entry - first]
                    map_gradient[window, atom, positions[entry]] += step * change
                    threshold_gradient[atom] -= change if values[entry] > 0 else -change
            momentum = momenta[iteration - 1]
            paired = (pairs, step, lag_gradient)
            _pull_back(here, bounds[window, iteration - 1], momentum + 1, first, adjoint, path, paired)
            if iteration > 1:
                _pull_back(here, bounds[window, iteration - 2], -momentum, first, adjoint, path, paired)


@compile_loops()
@no_type_check
def _pull_back(here, there, weight, first, adjoint, path, paired):
    """Hand the gradient of one code to an earlier one that it was extrapolated from, with that weight."""
    _, positions, values = path
    pairs, step, lag_gradient = paired
    reach = pairs.shape[2] // 2
    for atom in range(here.size - 1):
        for other in range(there.size - 1):
            begin = there[other]
            for entry in range(here[atom], here[atom + 1]):
                change = weight * adjoint[entry - first]
                while begin < there[other + 1] and positions[begin] < positions[entry] - reach:
                    begin += 1
                source = begin
                while source < there[other + 1] and positions[source] <= positions[entry] + reach:
                    lag = positions[entry] - positions[source] + reach
                    adjoint[source - first] -= step * pairs[other, atom, lag] * change
                    lag_gradient[other, atom, lag] -= step * change * values[source]
                    if other == atom and lag == reach:
                        adjoint[source - first] += change
                    source += 1
