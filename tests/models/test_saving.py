"""Claims about files of models: whatever the registries of the core hold comes back as it was."""

import pytest
from registry_examples import likelihood_examples, prior_examples

from si_crsae.core import LIKELIHOODS, PRIORS
from si_crsae.models.saving import describe_dataclass, revive

EXAMPLES = likelihood_examples() | prior_examples(level=[0.0, 0.4, 0.8, 3.0], variance=[0.3, 1.0, 2.0, 9.0])


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES.keys())
def test_every_prior_and_likelihood_survives_its_description(example):
    kinds = PRIORS | LIKELIHOODS
    again = revive(describe_dataclass(example, kinds), kinds)
    assert type(again) is type(example)
    assert repr(again) == repr(example)
