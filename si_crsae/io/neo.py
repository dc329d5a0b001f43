"""Recordings from neo, sortings to neo and back.

neo is the data model of Elephant and of many file readers. A SpikeInterface segment is a `neo.Segment`, a unit is one
`neo.SpikeTrain` per segment, held together by a `neo.Group`.
"""

from si_crsae.io.neo_export import to_neo
from si_crsae.io.neo_import import recording_from_neo, sorting_from_neo

__all__ = ["recording_from_neo", "sorting_from_neo", "to_neo"]
