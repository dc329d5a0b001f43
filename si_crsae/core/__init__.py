"""The mathematics of convolutional sparse coding on torch tensors: no I/O, no global state."""

from si_crsae.core.bases import Annealing, GaussianBase, LaplacianBase, SpikeAndSlab
from si_crsae.core.code_distribution import CodeDistribution, ShiftedThreshold, sparse_prior
from si_crsae.core.events.encoder import Encoder, EncoderSettings
from si_crsae.core.events.features import clean_features
from si_crsae.core.likelihoods import LIKELIHOODS, Binomial, Gaussian, Likelihood, NegativeBinomial, Poisson
from si_crsae.core.operators.compression import compress_templates
from si_crsae.core.operators.convolution import atom_correlations, correlate, count_shifts, lipschitz_bound, synthesize
from si_crsae.core.operators.filtering import component_lags, correlate_filtered, filter_with_basis
from si_crsae.core.operators.gram import Gram
from si_crsae.core.priors import (
    PRIORS,
    Counted,
    GroupSparse,
    OnSupport,
    Prior,
    Ridge,
    Simplex,
    Sparse,
    TwoSidedGaussian,
    soft_threshold,
)
from si_crsae.core.regularization import centered_prior, regularization_loss, update_regularization
from si_crsae.core.solvers.by_name import SOLVERS, MapSolver, find_solver, make_solver, solver_names
from si_crsae.core.solvers.descent import descend
from si_crsae.core.solvers.fista import Fista, FistaState, fista_solve, objective, optimality_residual
from si_crsae.core.solvers.generalized import GeneralizedModel, Placement, infer_baseline, noise_gain
from si_crsae.core.solvers.greedy import Descent
from si_crsae.core.solvers.iteration import Solver, iterate
from si_crsae.core.solvers.lca import Lca
from si_crsae.core.solvers.parallel import ParallelDescent
from si_crsae.core.solvers.problems import Convolutional, Problem
from si_crsae.core.solvers.quadratic import LinkedView, Quadratic
from si_crsae.core.types import Dictionary, SparseEvents

__all__ = [
    "LIKELIHOODS",
    "PRIORS",
    "SOLVERS",
    "Annealing",
    "CodeDistribution",
    "GaussianBase",
    "LaplacianBase",
    "ShiftedThreshold",
    "SpikeAndSlab",
    "sparse_prior",
    "Binomial",
    "Convolutional",
    "Counted",
    "Descent",
    "Dictionary",
    "Encoder",
    "EncoderSettings",
    "Fista",
    "FistaState",
    "Gaussian",
    "GeneralizedModel",
    "Gram",
    "GroupSparse",
    "Lca",
    "Likelihood",
    "LinkedView",
    "MapSolver",
    "NegativeBinomial",
    "OnSupport",
    "ParallelDescent",
    "Placement",
    "Poisson",
    "Prior",
    "Problem",
    "Quadratic",
    "Ridge",
    "Simplex",
    "Solver",
    "Sparse",
    "SparseEvents",
    "TwoSidedGaussian",
    "atom_correlations",
    "centered_prior",
    "clean_features",
    "component_lags",
    "compress_templates",
    "correlate",
    "correlate_filtered",
    "count_shifts",
    "descend",
    "filter_with_basis",
    "find_solver",
    "fista_solve",
    "infer_baseline",
    "iterate",
    "lipschitz_bound",
    "make_solver",
    "noise_gain",
    "objective",
    "optimality_residual",
    "regularization_loss",
    "soft_threshold",
    "solver_names",
    "synthesize",
    "update_regularization",
]
