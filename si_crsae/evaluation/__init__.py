"""Recordings with known spikes and the comparison of sortings with them."""

from si_crsae.evaluation.atoms import FilterMatch, filter_error, perturb_atoms
from si_crsae.evaluation.calibration import expected_calibration_error, judge_units, label_spikes, reliability_table
from si_crsae.evaluation.comparison import (
    Score,
    align_truth,
    count_best_unit,
    estimate_lag,
    found_spikes,
    overlapping_spikes,
    score_sorting,
)
from si_crsae.evaluation.convolutional import SimulatedWindows, simulate_windows
from si_crsae.evaluation.decomposition import densest_stretch
from si_crsae.evaluation.recordings import CASES, generate_case, load_case
from si_crsae.evaluation.simulation import CaseSpec, simulate
from si_crsae.evaluation.sorted_recording import explain_like, explain_sorting
from si_crsae.evaluation.tradeoff import TradeoffCurve, missed_false_alarm_curve

__all__ = [
    "CASES",
    "CaseSpec",
    "FilterMatch",
    "Score",
    "SimulatedWindows",
    "TradeoffCurve",
    "align_truth",
    "count_best_unit",
    "densest_stretch",
    "estimate_lag",
    "expected_calibration_error",
    "explain_like",
    "explain_sorting",
    "filter_error",
    "found_spikes",
    "generate_case",
    "judge_units",
    "label_spikes",
    "load_case",
    "missed_false_alarm_curve",
    "overlapping_spikes",
    "perturb_atoms",
    "reliability_table",
    "score_sorting",
    "simulate",
    "simulate_windows",
]
