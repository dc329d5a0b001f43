"""A sorting beside the true one: agreement of all units, what a pair of units shares, its spikes one by one."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from spikeinterface.comparison.comparisontools import make_hungarian_match

from si_crsae.evaluation.plots import MIN_DRAWN, contact_pitch
from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.sorting.convert import whole_samples
from si_crsae.widgets.view_models.matching import NOBODY, Matching, common_clocks, match_spikes, nearest_spikes
from si_crsae.widgets.view_models.sides import WITH_TRUTH, Difference, Sides, differing_parameters, sides_of

LISTS = ("missed", "false", "matched")
OVERLAP_MS = 1.0
OWN_REACH_MS = 2.0
MAX_TEMPLATE_CHANNELS = 24
# Lower parts of a template are flat lines in a picture of it.
MIN_HEIGHT = 0.04
MAX_LAG_BINS = 41


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementMatrix:
    """Spikes that the units of two sortings have in common, in the order in which matches lie on the diagonal."""

    truth_name: str
    tested_name: str
    sides: Sides
    differences: list[Difference]
    """Parameters that differ, where both are runs."""
    delta_ms: float
    rows: list[int]
    """Indices of the true units: matched ones first."""
    columns: list[int]
    """Indices of the tested units, likewise."""
    num_matched: int
    """Length of the diagonal."""
    truth_ids: list[str]
    """Ids of all units, by index."""
    tested_ids: list[str]
    counts: Int[np.ndarray, "row column"]
    num_truth: Int[np.ndarray, " row"]
    num_tested: Int[np.ndarray, " column"]

    @property
    def agreement(self) -> Float[np.ndarray, "row column"]:
        """Spikes in common / spikes of either."""
        union = self.num_truth[:, None] + self.num_tested - self.counts
        return self.counts / np.maximum(union, 1)

    def worst_pair(self) -> tuple[int, int]:
        """Return the true unit whose best agreement is least, and the tested one with which that is."""
        row = int(self.agreement.max(axis=1).argmin())
        return self.rows[row], self.columns[int(self.agreement[row].argmax())]

    def match_of(self, tested_unit: int) -> int:
        """Return the true unit with which a tested one agrees best."""
        return self.rows[int(self.agreement[:, self.columns.index(tested_unit)].argmax())]


def match_sortings(tested: SortedRecording, truth: SortedRecording, *, delta_ms: float) -> Matching:
    """Return which spikes of two sortings of one recording are the same, see `match_spikes`."""
    num_units = (len(truth.unit_ids), len(tested.unit_ids))
    delta = whole_samples(delta_ms, tested.sampling_frequency)
    return match_spikes(truth.units.spikes, tested.units.spikes, num_units=num_units, delta=delta)


def agreement_matrix(
    tested: SortedRecording, truth: SortedRecording, matching: Matching, *, delta_ms: float
) -> AgreementMatrix:
    """Return the agreement of all units.

    Parameters
    ----------
    tested, truth : SortedRecording
    matching : Matching
        From `match_sortings`.
    delta_ms : float
        With which it was made.
    """
    counts = matching.counts
    union = matching.num_truth[:, None] + matching.num_tested - counts
    agreement = pd.DataFrame(counts / np.maximum(union, 1))
    matches: list[int] = [] if agreement.empty else make_hungarian_match(agreement, np.nextafter(0, 1))[0].tolist()
    matched = [row for row, column in enumerate(matches) if column != NOBODY]
    partners = [matches[row] for row in matched]
    rows = matched + [row for row in range(len(counts)) if row not in set(matched)]
    columns = partners + [column for column in range(counts.shape[1]) if column not in set(partners)]
    return AgreementMatrix(
        truth_name=truth.name,
        tested_name=tested.name,
        sides=sides_of(tested, truth),
        differences=differing_parameters(tested, truth),
        delta_ms=delta_ms,
        rows=rows,
        columns=columns,
        num_matched=len(matched),
        truth_ids=[str(unit_id) for unit_id in truth.unit_ids],
        tested_ids=[str(unit_id) for unit_id in tested.unit_ids],
        counts=counts[np.ix_(rows, columns)],
        num_truth=matching.num_truth[rows],
        num_tested=matching.num_tested[columns],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SpikeList:
    """Spikes of one kind, by time; for each what else fired."""

    spike: Int[np.ndarray, " spike"]
    """Index in the sorting that has it: `truth` for the missed and the matched, `tested` for the false ones."""
    segment_index: Int[np.ndarray, " spike"]
    sample_index: Int[np.ndarray, " spike"]
    lag: Int[np.ndarray, " spike"]
    """By how many samples the tested spike of a matched pair is later; zero for the others."""
    other_tested: Int[np.ndarray, " spike"]
    """Nearest spike of another tested unit within delta, `NOBODY` if there is none."""
    other_true: Int[np.ndarray, " spike"]
    """Nearest spike of another true unit, within delta for a false spike, else within OVERLAP_MS."""
    own: Int[np.ndarray, " spike"]
    """Nearest spike of the pair's other unit within OWN_REACH_MS: how near a missed or false one was to a match."""

    @property
    def size(self) -> int:
        """Number of spikes."""
        return self.spike.size

    def nearest_to(self, segment_index: int, sample: float) -> int:
        """Return the position of the spike nearest to a time, 0 if no spike is in its segment."""
        first, last = np.searchsorted(self.segment_index, [segment_index, segment_index + 1])
        if first == last:
            return 0
        return int(first + np.abs(self.sample_index[first:last] - sample).argmin())


@dataclass(frozen=True, slots=True, kw_only=True)
class PairModel:
    """What a true and a tested unit share."""

    truth_unit: int
    tested_unit: int
    lists: dict[str, SpikeList]
    accuracy: float
    """Matched / (matched + missed + false)."""
    recall: float
    """Matched / spikes of the true unit."""
    precision: float
    """Matched / spikes of the tested unit."""

    @property
    def median_lag(self) -> float:
        """Median lag of the matched spikes (samples), zero without any."""
        return float(np.median(self.lists["matched"].lag)) if self.lists["matched"].size else 0.0


def pair_model(
    tested: SortedRecording, truth: SortedRecording, pair: tuple[int, int], matching: Matching, *, delta_ms: float
) -> PairModel:
    """Return the matched, missed and false spikes of a true and a tested unit.

    Parameters
    ----------
    tested, truth : SortedRecording
    pair : pair of int
        Index of the true and of the tested unit.
    matching : Matching
        From `match_sortings`.
    delta_ms : float
        With which it was made.
    """
    truth_unit, tested_unit = pair
    mine = (matching.truth_unit == truth_unit) & (matching.tested_unit == tested_unit)
    matched_true, matched_tested = matching.truth[mine], matching.tested[mine]
    all_true = np.flatnonzero(truth.units.spikes["unit_index"] == truth_unit)
    all_tested = np.flatnonzero(tested.units.spikes["unit_index"] == tested_unit)
    surroundings = _Surroundings.of(tested, truth, pair)
    missed = np.setdiff1d(all_true, matched_true, assume_unique=True)
    false = np.setdiff1d(all_tested, matched_tested, assume_unique=True)
    clocks = surroundings.clocks
    delta = whole_samples(delta_ms, tested.sampling_frequency)
    overlap = whole_samples(OVERLAP_MS, tested.sampling_frequency)
    lag = clocks[1][matched_tested] - clocks[0][matched_true]
    return PairModel(
        truth_unit=truth_unit,
        tested_unit=tested_unit,
        lists={
            "missed": surroundings.list_spikes(truth, missed, clocks[0], delta, overlap, is_true=True),
            "false": surroundings.list_spikes(tested, false, clocks[1], delta, delta, is_true=False),
            "matched": surroundings.list_spikes(truth, matched_true, clocks[0], delta, overlap, is_true=True, lag=lag),
        },
        accuracy=matched_true.size / max(all_true.size + all_tested.size - matched_true.size, 1),
        recall=matched_true.size / max(all_true.size, 1),
        precision=matched_true.size / max(all_tested.size, 1),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Surroundings:
    """Spikes of the units of a pair and of all others, by time."""

    clocks: list[Int[np.ndarray, " spike"]]
    own: list[Int[np.ndarray, " spike"]]
    others: list[Int[np.ndarray, " spike"]]
    reach: int

    @classmethod
    def of(cls, tested: SortedRecording, truth: SortedRecording, pair: tuple[int, int]) -> "_Surroundings":
        spikes = (truth.units.spikes, tested.units.spikes)
        reach = whole_samples(OWN_REACH_MS, tested.sampling_frequency)
        return cls(
            clocks=common_clocks(*spikes, gap=2 * reach),
            own=[np.flatnonzero(mine["unit_index"] == unit) for mine, unit in zip(spikes, pair, strict=True)],
            others=[np.flatnonzero(mine["unit_index"] != unit) for mine, unit in zip(spikes, pair, strict=True)],
            reach=reach,
        )

    def list_spikes(
        self,
        source: SortedRecording,
        spikes: Int[np.ndarray, " spike"],
        clock: Int[np.ndarray, " source_spike"],
        delta: int,
        overlap: int,
        *,
        is_true: bool,
        lag: Int[np.ndarray, " spike"] | None = None,
    ) -> SpikeList:
        times = clock[spikes]
        counterpart = 1 if is_true else 0
        return SpikeList(
            spike=spikes,
            segment_index=source.units.spikes["segment_index"][spikes],
            sample_index=source.units.spikes["sample_index"][spikes],
            lag=np.zeros(spikes.size, "int64") if lag is None else lag,
            other_tested=self._nearest(times, 1, self.others, delta),
            other_true=self._nearest(times, 0, self.others, overlap),
            own=self._nearest(times, counterpart, self.own, self.reach),
        )

    def _nearest(
        self, times: Int[np.ndarray, " spike"], which: int, among: list[Int[np.ndarray, " spike"]], reach: int
    ) -> Int[np.ndarray, " spike"]:
        if among[which].size == 0:
            return np.full(times.size, NOBODY)
        nearest, _ = nearest_spikes(times, self.clocks[which][among[which]], reach=reach)
        return np.where(nearest == NOBODY, NOBODY, among[which][nearest])


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplatePair:
    """Two units' waveforms at the contacts, in noise standard deviations, timed by the true spike."""

    locations: Float[np.ndarray, "contact 2"]
    """All contacts (um)."""
    pitch: float
    """Smallest distance of two contacts (um)."""
    channels: list[int]
    """Where either unit can be seen."""
    step_ms: float
    truth: Float[np.ndarray, "channel sample"]
    truth_start_ms: float
    tested: Float[np.ndarray, "channel sample"]
    tested_start_ms: float


def template_pair(tested: SortedRecording, truth: SortedRecording, pair: PairModel) -> TemplatePair:
    """Return the typical waveforms of the two units of a pair: atoms times their usual amplitude."""
    true_template = truth.units.scales[pair.truth_unit] * truth.units.atoms[pair.truth_unit]
    tested_template = tested.units.scales[pair.tested_unit] * tested.units.atoms[pair.tested_unit]
    heights = np.maximum(np.abs(true_template).max(axis=1), np.abs(tested_template).max(axis=1))
    largest = np.argsort(-heights, kind="stable")[:MAX_TEMPLATE_CHANNELS]
    channels = np.sort(largest[heights[largest] >= max(MIN_DRAWN, MIN_HEIGHT * float(heights.max(initial=0)))])
    step_ms = 1000 / tested.sampling_frequency
    before = pair.median_lag - int(tested.units.num_before[pair.tested_unit])
    return TemplatePair(
        locations=tested.locations,
        pitch=contact_pitch(tested.locations),
        channels=channels.tolist(),
        step_ms=step_ms,
        truth=true_template[channels],
        truth_start_ms=-int(truth.units.num_before[pair.truth_unit]) * step_ms,
        tested=tested_template[channels],
        tested_start_ms=before * step_ms,
    )


def lag_histogram(
    lags: Int[np.ndarray, " spike"], *, delta: int, sampling_frequency: float
) -> tuple[Int[np.ndarray, " bin"], Float[np.ndarray, " edge"]]:
    """Return counts of lags from -delta to delta samples, and the edges of the bins (ms).

    All bins hold the same number of samples: the least that makes at most MAX_LAG_BINS of them.
    """
    samples = -(-(2 * delta + 1) // MAX_LAG_BINS)
    num_bins = -(-(2 * delta + 1) // samples)
    edges = (np.arange(num_bins + 1) - num_bins / 2) * samples
    return np.histogram(lags, bins=edges)[0], 1000 * edges / sampling_frequency


def summarize_list(pair: PairModel, listed: str, *, delta_ms: float, sides: Sides = WITH_TRUTH) -> str:
    """Return in one sentence why the spikes of a list are in it."""
    spikes = pair.lists[listed]
    taken, overlapping = int((spikes.other_tested != NOBODY).sum()), int((spikes.other_true != NOBODY).sum())
    own = f"{spikes.size} {getattr(sides, listed)} spikes"
    overlap = f"overlap with another {sides.true} unit (within {OVERLAP_MS:g} ms)."
    if listed == "missed":
        return (
            f"{taken} of {own} have a spike of another {sides.tested} unit within {delta_ms:g} ms, "
            f"{overlapping} {overlap}"
        )
    if listed == "false":
        return f"{overlapping} of {own} are those of another {sides.true} unit (within {delta_ms:g} ms)."
    return f"{overlapping} of {own} {overlap}"
