"""Recordings with known spikes and the comparison of sortings with them."""

from si_crsae.evaluation.comparison import Score, align_truth, count_best_unit, estimate_lag, score_sorting
from si_crsae.evaluation.recordings import CASES, generate_case, load_case

__all__ = [
    "CASES",
    "Score",
    "align_truth",
    "count_best_unit",
    "estimate_lag",
    "generate_case",
    "load_case",
    "score_sorting",
]
