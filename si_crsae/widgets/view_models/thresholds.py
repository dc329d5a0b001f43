"""What a threshold on the amplitudes of a unit costs: missed spikes, and what it saves: false alarms."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize
from scipy.special import ndtr
from spikeinterface.core import BaseSorting, NumpySorting

from si_crsae.core.robust import robust_sd
from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.evaluation.tradeoff import missed_false_alarm_curve
from si_crsae.sorting.convert import whole_samples, with_all_segments
from si_crsae.widgets.view_models.matching import common_clocks, match_spikes
from si_crsae.widgets.view_models.residual_null import ResidualNull, count_null
from si_crsae.widgets.view_models.unit_activity import relative_amplitudes

NUM_STEPS = 160
REACH_BELOW = 0.35
NUM_DEVIATIONS = 4.0
MIN_SPIKES = 20
DELTA_MS = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class AmplitudeFit:
    """A Gaussian of which only the part above a threshold was seen; amplitudes in units of the unit's typical one."""

    mean: float
    sd: float
    num_all: float
    """Spikes above and below the threshold."""

    def missed(self, thresholds: Float[np.ndarray, " threshold"]) -> Float[np.ndarray, " threshold"]:
        """Return the share of all spikes below some thresholds."""
        return ndtr((thresholds - self.mean) / self.sd)


def fit_amplitudes(amplitudes: Float[np.ndarray, " spike"], *, lowest: float) -> AmplitudeFit | None:
    """Return the Gaussian that makes amplitudes above a threshold most likely; None if too few spikes tell.

    Amplitudes more than NUM_DEVIATIONS above the median are left out: these are spikes that overlap. The mean is not
    sought below the threshold: of less than half of the spikes nothing can be said about the others.

    Parameters
    ----------
    amplitudes : ndarray, shape (spike,)
        All of them at least `lowest`.
    lowest : float
        Below it nothing was accepted.
    """
    if amplitudes.size < MIN_SPIKES:
        return None
    center = float(np.median(amplitudes))
    spread = float(robust_sd(amplitudes))
    if spread == 0:
        return None
    highest = center + NUM_DEVIATIONS * spread
    inside = amplitudes[amplitudes <= highest].astype("float64")
    moments = float(inside.mean()), float((inside**2).mean())

    def loss(parameters: Float[np.ndarray, " parameter"]) -> float:
        """Mean negative log-likelihood, up to a constant."""
        mean, sd = parameters[0], np.exp(parameters[1])
        share = ndtr((highest - mean) / sd) - ndtr((lowest - mean) / sd)
        squares = moments[1] - 2 * mean * moments[0] + mean**2
        return float(parameters[1] + squares / (2 * sd**2) + np.log(max(share, 1e-300)))

    bounds = [(lowest, highest), (np.log(spread / 4), np.log(4 * spread))]
    found = minimize(loss, [center, np.log(spread)], bounds=bounds, method="L-BFGS-B")
    mean, sd = float(found.x[0]), float(np.exp(found.x[1]))
    return AmplitudeFit(mean=mean, sd=sd, num_all=amplitudes.size / float(1 - ndtr((lowest - mean) / sd)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdModel:
    """Amplitudes of a unit, in units of its typical one, and what every threshold on them does."""

    unit_ids: list[str]
    unit_index: int
    chosen_units: list[int]
    """Indices of the units that have a threshold of their own."""
    num_spikes: int
    lowest: float
    """From where the sorter accepts."""
    threshold: float
    """Chosen, or the lowest."""
    grid: Float[np.ndarray, " threshold"]
    """Thresholds to choose from; `lowest` is one of them."""
    lowest_index: int
    num_kept: Int[np.ndarray, " threshold"]
    missed: Float[np.ndarray, " threshold"] | None
    """Share of the real spikes."""
    false_alarm: Float[np.ndarray, " threshold"] | None
    """Share of the kept spikes."""
    best_index: int
    """Threshold of the least sum of the two from the lowest on; -1 if that is not known."""
    source: str
    """From where missed and false are known: "truth" or "estimate"."""
    matched_unit: str
    """Id of the true unit that the unit is compared with; empty where the truth is not known."""
    edges: Float[np.ndarray, " edge"]
    counts: Int[np.ndarray, " bin"]
    null_counts: Int[np.ndarray, " bin"] | None
    """Maxima of the residual that resemble the unit, extrapolated to the recording."""
    fit_counts: Float[np.ndarray, " bin"] | None
    """Counts that the fitted Gaussian expects."""
    is_pending: bool
    """Whether the null is still to be estimated."""
    how: list[str]
    """How missed and false are counted or estimated."""
    notes: list[str]
    empty: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Missed and false at every threshold, where they are known."""

    missed: Float[np.ndarray, " threshold"] | None
    false_alarm: Float[np.ndarray, " threshold"] | None
    source: str
    matched_unit: str = ""
    note: str = ""


def lowest_of(tested: SortedRecording, unit: int) -> float:
    """Return the relative amplitude from which on spikes of a unit were accepted."""
    return float(tested.min_amplitude[unit] / tested.units.scales[unit])


def nothing_to_choose(tested: SortedRecording) -> str:
    """Return why no threshold can be chosen, and what to do; empty if one can."""
    if not tested.unit_ids:
        return (
            f"{tested.name} has no units, so there is no threshold to choose. If units are missing, lower "
            "detect_threshold or min_firing_rate and run the sorter again."
        )
    if not tested.min_amplitude.any():
        return f"The amplitudes of {tested.name} are not known: open a run of crsae to choose thresholds."
    return ""


def threshold_model(
    tested: SortedRecording,
    unit: int,
    *,
    thresholds: Mapping[int | str, float],
    truth: SortedRecording | None = None,
    null: ResidualNull | None = None,
    is_pending: bool = False,
) -> ThresholdModel:
    """Return what the threshold explorer shows of a unit.

    Parameters
    ----------
    tested : SortedRecording
    unit : int
        Index of the unit.
    thresholds : mapping of unit ids to relative amplitudes
        Those chosen so far.
    truth : SortedRecording or None, default: None
        Known spikes; without them missed and false are estimated.
    null : ResidualNull or None, default: None
        What noise gives this unit.
    is_pending : bool, default: False
        Whether the null can still be had.
    """
    amplitudes, lowest = relative_amplitudes(tested, unit), lowest_of(tested, unit)
    grid, lowest_index = threshold_grid(amplitudes, lowest)
    num_kept = amplitudes.size - np.searchsorted(np.sort(amplitudes), grid)
    # amplitudes are single precision: the lowest one may lie a rounding below its bound
    num_kept[: lowest_index + 1] = amplitudes.size
    fit = fit_amplitudes(amplitudes, lowest=lowest)
    if truth is None:
        errors = estimated_errors(tested, unit, grid, num_kept, fit=fit, null=null)
    else:
        errors = true_errors(tested, truth, unit, grid)
    edges = np.append(grid, 2 * grid[-1] - grid[-2])[::2]
    widths = np.diff(edges)
    scale, duration_s = float(tested.units.scales[unit]), _total_s(tested)
    fit_counts = None if fit is None else np.diff(fit.missed(edges)) * fit.num_all
    model = ThresholdModel(
        unit_ids=[str(unit_id) for unit_id in tested.unit_ids],
        unit_index=unit,
        chosen_units=[],
        num_spikes=amplitudes.size,
        lowest=lowest,
        threshold=lowest,
        grid=grid,
        lowest_index=lowest_index,
        num_kept=num_kept,
        missed=errors.missed,
        false_alarm=errors.false_alarm,
        best_index=_best(errors, lowest_index),
        source=errors.source,
        matched_unit=errors.matched_unit,
        edges=edges,
        counts=np.histogram(np.clip(amplitudes, None, edges[-1] - widths[-1] / 2), bins=edges)[0],
        null_counts=None if null is None else count_null(null, edges * scale, duration_s=duration_s),
        fit_counts=fit_counts,
        is_pending=is_pending,
        how=[note for note in (errors.note, _about_null(null)) if note],
        notes=list(tested.missing),
        empty="",
    )
    return with_thresholds(model, tested, thresholds)


def with_thresholds(
    model: ThresholdModel, tested: SortedRecording, thresholds: Mapping[int | str, float]
) -> ThresholdModel:
    """Return what is shown of the same unit with other thresholds: nothing is computed anew.

    Parameters
    ----------
    model : ThresholdModel
    tested : SortedRecording
        From which the model was made.
    thresholds : mapping of unit ids to relative amplitudes
    """
    return replace(
        model,
        chosen_units=[index for index, unit_id in enumerate(tested.unit_ids) if unit_id in thresholds],
        threshold=thresholds.get(tested.unit_ids[model.unit_index], model.lowest),
    )


def threshold_grid(
    amplitudes: Float[np.ndarray, " spike"], lowest: float
) -> tuple[Float[np.ndarray, " threshold"], int]:
    """Return equally spaced thresholds and the position of the lowest accepted amplitude among them."""
    highest = max(float(np.quantile(amplitudes, 0.998)) if amplitudes.size else 1.2, lowest + 0.3)
    below = min(REACH_BELOW, 0.9 * lowest)
    step = (highest - lowest + below) / NUM_STEPS
    lowest_index = int(below / step)
    return lowest + step * (np.arange(NUM_STEPS + 1) - lowest_index), lowest_index


def true_errors(
    tested: SortedRecording, truth: SortedRecording, unit: int, grid: Float[np.ndarray, " threshold"]
) -> Errors:
    """Return missed and false shares of a unit against the true one with which it agrees best."""
    spikes = tested.units.spikes
    mine = spikes["unit_index"] == unit
    alone = spikes[mine]
    delta = whole_samples(DELTA_MS, tested.sampling_frequency)
    matching = match_spikes(
        truth.units.spikes, alone, num_units=(len(truth.unit_ids), len(tested.unit_ids)), delta=delta
    )
    common = np.bincount(matching.truth_unit, minlength=len(truth.unit_ids))
    if not common.any():
        note = f"No spike of this unit is one of {truth.name}: all of them count as false, and none is missed."
        return Errors(missed=np.zeros(grid.size), false_alarm=np.ones(grid.size), source="truth", note=note)
    agreement = common / (matching.num_truth + alone.size - common)
    best = int(agreement.argmax())
    clocks = common_clocks(truth.units.spikes, alone, gap=2 * delta + 1)
    curve = missed_false_alarm_curve(
        clocks[0][truth.units.spikes["unit_index"] == best],
        clocks[1],
        tested.units.amplitude[mine] / float(tested.units.scales[unit]),
        tolerance=delta,
        thresholds=np.where(grid <= lowest_of(tested, unit), 0.0, grid),
    )
    matched_unit = str(truth.unit_ids[best])
    return Errors(
        missed=curve.missed,
        false_alarm=curve.false_alarm,
        source="truth",
        matched_unit=matched_unit,
        note=(
            f"Missed and false are counted against unit {matched_unit} of {truth.name} (agreement "
            f"{agreement[best]:.2f}, the same spike within {DELTA_MS:g} ms)."
        ),
    )


def estimated_errors(
    tested: SortedRecording,
    unit: int,
    grid: Float[np.ndarray, " threshold"],
    num_kept: Int[np.ndarray, " threshold"],
    *,
    fit: AmplitudeFit | None,
    null: ResidualNull | None,
) -> Errors:
    """Return what is to be expected without a truth: missed from the Gaussian, false from the residual."""
    false_alarm = None
    if null is not None:
        expected = null.rate_above(grid * float(tested.units.scales[unit])) * _total_s(tested)
        # a new run with a lower threshold would find those below the sorter's too
        at_lowest = expected[np.searchsorted(grid, lowest_of(tested, unit) * (1 - 1e-6))]
        found = num_kept + np.maximum(expected - at_lowest, 0)
        false_alarm = np.clip(expected / np.maximum(found, 1), 0, 1)
    if fit is None:
        note = f"Too few spikes, or too equal ones, to estimate how many are missed: {MIN_SPIKES} at least are needed."
        return Errors(missed=None, false_alarm=false_alarm, source="estimate", note=note)
    note = (
        "Estimates, because no truth is given. Missed: the share below the threshold of a Gaussian fitted to the "
        f"amplitudes, cut off at the sorter's minimum (mean {fit.mean:.2f}, sd {fit.sd:.2f}); too high or low where "
        "amplitudes are skewed, as in bursts."
    )
    if fit.mean <= lowest_of(tested, unit) * (1 + 1e-6):
        note += " Here half of the Gaussian or more lies below the minimum: more spikes may be missed than shown."
    return Errors(missed=fit.missed(grid), false_alarm=false_alarm, source="estimate", note=note)


def apply_thresholds(tested: SortedRecording, thresholds: Mapping[int | str, float]) -> BaseSorting:
    """Return the sorting without the spikes below the thresholds of their units.

    Parameters
    ----------
    tested : SortedRecording
    thresholds : mapping of unit ids to relative amplitudes
        Units that are not in it keep all spikes.

    Returns
    -------
    BaseSorting
        With all units, also those that have no spikes left, and their properties.
    """
    units = tested.units
    least = np.array([thresholds.get(unit_id, 0.0) for unit_id in tested.unit_ids]) * units.scales
    # a threshold at the sorter's own minimum takes nothing away
    least = np.where(least <= tested.min_amplitude * (1 + 1e-6), 0.0, least)
    kept = units.amplitude >= least[units.spikes["unit_index"]] if least.size else np.zeros(0, bool)
    sorting = NumpySorting(units.spikes[kept], tested.sampling_frequency, tested.sorting.unit_ids)
    tested.sorting.copy_metadata(sorting)
    return with_all_segments(sorting, len(tested.num_samples))


def _about_null(null: ResidualNull | None) -> str:
    if null is None:
        return ""
    said = (
        f"Gray: maxima of the residual that resemble the unit, in {null.duration_s:.1f} s of the recording, "
        "extrapolated to all of it; real spikes below the sorter's minimum are among them. "
    )
    if null.variance == 0:
        return said + "They are too few to tell false alarms above the minimum: taken as none."
    return said + (
        "False alarms above the minimum: these maxima continued as those of Gaussian noise, so rather too many than "
        "too few."
    )


def _best(errors: Errors, lowest_index: int) -> int:
    if errors.missed is None or errors.false_alarm is None:
        return -1
    return lowest_index + int(np.argmin((errors.missed + errors.false_alarm)[lowest_index:]))


def _total_s(tested: SortedRecording) -> float:
    return sum(tested.num_samples) / tested.sampling_frequency


def empty_thresholds(reason: str) -> ThresholdModel:
    """Return what is shown where no threshold can be chosen."""
    return ThresholdModel(
        unit_ids=[],
        unit_index=-1,
        chosen_units=[],
        num_spikes=0,
        lowest=0.0,
        threshold=0.0,
        grid=np.zeros(1),
        lowest_index=0,
        num_kept=np.zeros(1, "int64"),
        missed=None,
        false_alarm=None,
        best_index=-1,
        source="estimate",
        matched_unit="",
        edges=np.zeros(1),
        counts=np.zeros(0, "int64"),
        null_counts=None,
        fit_counts=None,
        is_pending=False,
        how=[],
        notes=[],
        empty=reason,
    )
