"""Why learning decides what it decides, in words: for the view of its history, the report and the docs."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What a decision means; `{others}` and `{became}` stand for the units that count.

    Parameters
    ----------
    means : str
    helps : str, default: ""
        What to do if it is wrong; names of parameters stand in backquotes.
    """

    means: str
    helps: str = ""


_FEW_SPIKES = Explanation(
    means="it fires too rarely", helps="lower `min_firing_rate`; `learning_duration_s` for the rounds"
)
_CLUSTER = Explanation(means="a cluster of peaks")
_TOO_FEW_PEAKS = "lower `detect_threshold`; learn from more of the recording, `learning_duration_s`"
_IS_A_SUM = Explanation(means="its template, or its spikes, are the sum of those of {others}: a collision")

# By what was decided and the figure that decided it.
EXPLANATIONS: dict[tuple[str, str], Explanation] = {
    ("found", "num_peaks"): _CLUSTER,
    ("born", "num_peaks"): Explanation(means="a cluster of the peaks that units left unexplained in the first round"),
    ("refused", "num_peaks"): Explanation(means="a cluster of too few peaks", helps=_TOO_FEW_PEAKS),
    ("refused", "peak_to_noise"): Explanation(means="a cluster whose median shows nothing", helps=_TOO_FEW_PEAKS),
    ("split", "separation"): Explanation(
        means="its spikes form groups, apart enough; with events of {others} put back, where there are any",
        helps="raise `merge_threshold`",
    ),
    ("not split", "separation"): Explanation(
        means="its spikes form groups, not apart enough",
        helps="lower `merge_threshold`, or split it in the curation view",
    ),
    ("not split", "distance"): Explanation(
        means="its spikes form groups whose templates are so near that encoding could not tell their spikes apart",
        helps="split it in the curation view",
    ),
    ("merged", "separation"): Explanation(
        means="its spikes could not be told from those of {became}", helps="lower `merge_threshold`"
    ),
    ("merged", "relative_distance"): Explanation(
        means="its template could not be told from that of {became}", helps="lower `merge_threshold`"
    ),
    ("merged", "presence_score"): Explanation(
        means="it fires when {became} does not and looks alike: one drifting neuron"
    ),
    ("merged", "chance_of_so_few_close_pairs"): Explanation(
        means="it looks like {became} but for its size, and fires soon before or after it, never with it: one neuron "
        "whose spikes shrink within bursts, or that fires fast. Two neurons would have so few close pairs with the "
        "probability in `value`"
    ),
    ("dropped", "norm_to_noise"): Explanation(means="its template does not stand out of the noise"),
    ("dropped", "num_events"): _FEW_SPIKES,
    ("dropped", "distance"): Explanation(
        means="a new template so near to that of {others} that encoding cannot tell them apart"
    ),
    ("dropped", "accompanied_fraction"): Explanation(
        means="smaller than {others}, and too much of it comes with them at one lag, or where they cannot fire again: "
        "what their template leaves of their spikes, or a later phase of them"
    ),
    ("lost events", "accompanied_fraction"): Explanation(
        means="the same, but its other spikes follow in bursts of {others}: it went on without those that come along"
    ),
    ("dropped", "unexplained_fraction"): _IS_A_SUM,
    ("dropped", "evidence_gained"): _IS_A_SUM,
    ("kept", "num_events"): Explanation(means="it is in the sorting"),
}


def explained(what: str, figure: str, *, others: Sequence[str] = (), became: Sequence[str] = ()) -> Explanation:
    """Return what a decision means with the units that count by name; a run of another version may know others.

    Parameters
    ----------
    what, figure : str
        See `Decision`.
    others, became : sequence of str, default: ()
        Names of the units because of which it was decided, and of those that the spikes went to.
    """
    known = EXPLANATIONS.get((what, figure), Explanation(means=what))
    names = {"others": _listed(others) or "other units", "became": _listed(became) or "another unit"}
    return Explanation(means=known.means.format_map(names), helps=known.helps.replace("`", ""))


def measured(figure: str, value: float, threshold: float) -> str:
    """Return the figure that decided, beside its limit: "peaks 8, limit 12"."""
    return f"{figure.removeprefix('num_').replace('_', ' ')} {value:.3g}, limit {threshold:.3g}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names)
