"""The mathematics of convolutional sparse coding on torch tensors: no I/O, no global state."""

from si_crsae.core.convolution import correlate, count_shifts, lipschitz_bound, synthesize
from si_crsae.core.fista import FistaState, fista_init, fista_solve, fista_step, objective, optimality_residual
from si_crsae.core.proximal import soft_threshold
from si_crsae.core.sparsity import centered_prior, regularization_loss, update_regularization

__all__ = [
    "FistaState",
    "centered_prior",
    "correlate",
    "count_shifts",
    "fista_init",
    "fista_solve",
    "fista_step",
    "lipschitz_bound",
    "objective",
    "optimality_residual",
    "regularization_loss",
    "soft_threshold",
    "synthesize",
    "update_regularization",
]
