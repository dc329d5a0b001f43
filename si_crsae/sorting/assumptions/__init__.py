"""What the sorter assumes of recordings, spikes and units: every number that decides and is no parameter of the user.

Each field says what it decides, its unit in parentheses, what happens on either side of it, and where it was measured.
"Chosen" means that it never was, "prototype" the throw-away version with which the first of them were found. What only
costs time or memory stays a constant beside the code that needs it.

Functions of `si_crsae.sorting` take them as the argument `assumed`, so that they can be run with other ones:

>>> from si_crsae.sorting.assumptions import ASSUMED, Assumptions, StructureAssumptions
>>> strict = Assumptions(structure=StructureAssumptions(same_shape_fraction=0.1))
>>> strict.structure.far_distance == ASSUMED.structure.far_distance
True
"""

from dataclasses import dataclass

from si_crsae.sorting.assumptions.artifacts import ArtifactAssumptions
from si_crsae.sorting.assumptions.drift import DriftAssumptions
from si_crsae.sorting.assumptions.linking import LinkingAssumptions
from si_crsae.sorting.assumptions.probabilities import ProbabilityAssumptions
from si_crsae.sorting.assumptions.quality import QualityAssumptions
from si_crsae.sorting.assumptions.recordings import RecordingAssumptions
from si_crsae.sorting.assumptions.spikes import RefractoryAssumptions, SpikeAssumptions
from si_crsae.sorting.assumptions.units import (
    BurstAssumptions,
    CollisionAssumptions,
    FragmentAssumptions,
    InitialAssumptions,
    StructureAssumptions,
    UnitAssumptions,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """All that the sorter assumes, by what it is about: each field is documented in its own class."""

    recordings: RecordingAssumptions = RecordingAssumptions()
    artifacts: ArtifactAssumptions = ArtifactAssumptions()
    spikes: SpikeAssumptions = SpikeAssumptions()
    refractory: RefractoryAssumptions = RefractoryAssumptions()
    initial: InitialAssumptions = InitialAssumptions()
    units: UnitAssumptions = UnitAssumptions()
    structure: StructureAssumptions = StructureAssumptions()
    collisions: CollisionAssumptions = CollisionAssumptions()
    fragments: FragmentAssumptions = FragmentAssumptions()
    bursts: BurstAssumptions = BurstAssumptions()
    probabilities: ProbabilityAssumptions = ProbabilityAssumptions()
    quality: QualityAssumptions = QualityAssumptions()
    linking: LinkingAssumptions = LinkingAssumptions()
    drift: DriftAssumptions = DriftAssumptions()


ASSUMED = Assumptions()

__all__ = [
    "ASSUMED",
    "ArtifactAssumptions",
    "Assumptions",
    "BurstAssumptions",
    "CollisionAssumptions",
    "DriftAssumptions",
    "FragmentAssumptions",
    "InitialAssumptions",
    "LinkingAssumptions",
    "ProbabilityAssumptions",
    "QualityAssumptions",
    "RecordingAssumptions",
    "RefractoryAssumptions",
    "SpikeAssumptions",
    "StructureAssumptions",
    "UnitAssumptions",
]
