"""Claims about the numbers that the sorter assumes."""

import dataclasses
import re
from pathlib import Path

import pytest

import si_crsae
from si_crsae.config import CrsaeConfig
from si_crsae.core.events.encoder import EncoderSettings
from si_crsae.sorting.assumptions import ASSUMED, Assumptions, SpikeAssumptions

PACKAGE = Path(si_crsae.__file__).parent
FIELDS = [
    (group.name, field.name)
    for group in dataclasses.fields(ASSUMED)
    for field in dataclasses.fields(getattr(ASSUMED, group.name))
]


@pytest.fixture(scope="module")
def code():
    """All code but the assumptions themselves."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return "\n".join(path.read_text(encoding="utf8") for path in paths if path.parent.name != "assumptions")


def test_assumptions_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ASSUMED.spikes.event_price = 1.0


def test_other_assumptions_leave_the_rest_as_it_is():
    other = Assumptions(spikes=SpikeAssumptions(event_price=1.0))
    assert dataclasses.replace(other, spikes=ASSUMED.spikes) == ASSUMED != other


@pytest.mark.parametrize(("group", "name"), FIELDS, ids=map(".".join, FIELDS))
def test_every_number_is_used(code, group, name):
    assert re.search(rf"\b({group}|{group.upper()}|assumed)\.{name}\b", code)


def test_no_number_is_also_a_parameter_of_the_user():
    assert not {name for _, name in FIELDS} & set(CrsaeConfig.model_fields)


def test_what_the_core_takes_for_usual_is_what_the_sorter_assumes():
    """Where the sorter does not say otherwise, the numbers of both are one."""
    usual = {field.name: field.default for field in dataclasses.fields(EncoderSettings)}
    for name in ("event_price", "amplitude_spread", "join_correlation"):
        assert getattr(ASSUMED.spikes, name) == usual[name]
