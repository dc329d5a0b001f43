"""Recordings with known spikes and the comparison of sortings with them."""

from si_crsae.evaluation.atoms import FilterMatch, filter_error, perturb_atoms
from si_crsae.evaluation.calibration import expected_calibration_error, label_spikes, reliability_table
from si_crsae.evaluation.comparison import Score, align_truth, count_best_unit, estimate_lag, score_sorting
from si_crsae.evaluation.convolutional import SimulatedWindows, simulate_windows
from si_crsae.evaluation.recordings import CASES, generate_case, load_case
from si_crsae.evaluation.tradeoff import TradeoffCurve, missed_false_alarm_curve

__all__ = [
    "CASES",
    "FilterMatch",
    "Score",
    "SimulatedWindows",
    "TradeoffCurve",
    "align_truth",
    "count_best_unit",
    "estimate_lag",
    "expected_calibration_error",
    "filter_error",
    "generate_case",
    "label_spikes",
    "load_case",
    "missed_false_alarm_curve",
    "perturb_atoms",
    "reliability_table",
    "score_sorting",
    "simulate_windows",
]
