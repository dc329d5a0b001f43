"""What two sortings that are compared are called, and how two runs differ in their parameters."""

from dataclasses import dataclass

from si_crsae.evaluation.sorted_recording import SortedRecording
from si_crsae.sorting.folder import load_config


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Words for the units and spikes of two sortings: one is true, or neither is."""

    true: str = "true"
    tested: str = "tested"
    missed: str = "missed"
    false: str = "false"
    matched: str = "matched"
    accuracy: str = "accuracy"
    recall: str = "recall"
    precision: str = "precision"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A parameter that two runs do not share."""

    name: str
    tested: str
    true: str


WITH_TRUTH = Sides()


def sides_of(tested: SortedRecording, truth: SortedRecording) -> Sides:
    """Return what two sortings are called: a run is no truth."""
    if truth.folder is None:
        return WITH_TRUTH
    one, other = tested.name, truth.name
    return Sides(
        true=other,
        tested=one,
        missed=f"{other}-only",
        false=f"{one}-only",
        matched="common",
        accuracy="agreement",
        recall=f"of {other} in {one}",
        precision=f"of {one} in {other}",
    )


def differing_parameters(tested: SortedRecording, truth: SortedRecording) -> list[Difference]:
    """Return the parameters that differ between two runs; nothing unless both are runs."""
    if tested.folder is None or truth.folder is None:
        return []
    one, other = (load_config(folder).model_dump(mode="json") for folder in (tested.folder, truth.folder))
    return [
        Difference(name=name, tested=repr(value), true=repr(other[name]))
        for name, value in one.items()
        if value != other[name]
    ]
