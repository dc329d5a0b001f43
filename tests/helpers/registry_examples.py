"""Examples of all that the registries of the core hold; a class without one fails a test."""

from dataclasses import fields, is_dataclass, replace

import torch

from si_crsae.core import (
    LIKELIHOODS,
    PRIORS,
    Binomial,
    Counted,
    Gaussian,
    GroupSparse,
    NegativeBinomial,
    OnSupport,
    Poisson,
    Ridge,
    Simplex,
    Sparse,
    TwoSidedGaussian,
)

NUM_ATOMS = 4

EXAMPLES_OF_LIKELIHOOD = {
    "Gaussian": Gaussian(noise_sd=0.7),
    "Binomial": Binomial(num_trials=30),
    "Poisson": Poisson(),
    "NegativeBinomial": NegativeBinomial(shape=2.5),
}


# Under the name of the class, from one lambda and one variance per atom.
EXAMPLES_OF_PRIOR = {
    "Sparse": lambda level, variance: {
        "two-sided sparse": Sparse(regularization=level),
        "nonnegative sparse": Sparse(regularization=level, nonnegative=True),
    },
    "Counted": lambda level, variance: {
        "counted": Counted(regularization=level),
        "nonnegative counted": Counted(regularization=level, nonnegative=True),
    },
    "Ridge": lambda level, variance: {"ridge": Ridge(variance=variance)},
    "TwoSidedGaussian": lambda level, variance: {
        "two-sided Gaussian": TwoSidedGaussian(positive_variance=variance, negative_variance=variance.flip(0) / 2)
    },
    "GroupSparse": lambda level, variance: {
        "group": GroupSparse(regularization=level[1:3], group_size=2),
        "nonnegative group": GroupSparse(regularization=level[1:3], group_size=2, nonnegative=True),
    },
    "Simplex": lambda level, variance: {"simplex": Simplex()},
    "OnSupport": lambda level, variance: {
        "on a support": OnSupport(
            prior=Sparse(regularization=level), support=torch.tensor([True, False, True, True])[:, None]
        )
    },
}


def on_device(example, device):
    """Return an example with its tensors on a device."""
    if isinstance(example, torch.Tensor):
        return example.to(device)
    if not is_dataclass(example):
        return example
    parts = {field.name: on_device(getattr(example, field.name), device) for field in fields(example)}
    return replace(example, **parts)


def likelihood_examples():
    """Return one of every likelihood in the registry, by the name of its class."""
    return {name: EXAMPLES_OF_LIKELIHOOD[name] for name in LIKELIHOODS}


def prior_examples(level, variance, *, without=()):
    """Return all examples, by their own names, of every prior in the registry but some classes."""
    level, variance = (torch.tensor(values, dtype=torch.float64) for values in (level, variance))
    groups = [EXAMPLES_OF_PRIOR[kind](level, variance) for kind in PRIORS if kind not in without]
    return {name: example for group in groups for name, example in group.items()}
