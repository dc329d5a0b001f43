"""Variational sparse coding: a network tells the posterior of a code from the window.

`model` has the auto-encoder, its objective and its learning, `networks` the two networks it can have, `statistics` what
became of its code; `coder` is its scikit-learn-like face.
"""

from si_crsae.models.variational.coder import EncodedWindows, VariationalSparseCoder
from si_crsae.models.variational.model import Objective, VariationalFitting, VariationalModel, VariationalTraining
from si_crsae.models.variational.networks import PerceptronEncoder, UnrolledEncoder
from si_crsae.models.variational.statistics import CodeStatistics, describe_codes

__all__ = [
    "CodeStatistics",
    "EncodedWindows",
    "Objective",
    "PerceptronEncoder",
    "UnrolledEncoder",
    "VariationalFitting",
    "VariationalModel",
    "VariationalSparseCoder",
    "VariationalTraining",
    "describe_codes",
]
