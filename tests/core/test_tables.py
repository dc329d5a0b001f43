"""Claims about dataclasses of arrays: rows picked, joined and counted along named axes, and arrays by name."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from jaxtyping import Float, Int, Shaped

from si_crsae.core.tables import (
    check_lengths,
    columns_along,
    concatenate_rows,
    from_arrays,
    joined_columns,
    select_rows,
    to_arrays,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spikes:
    """Two axes of rows, `spike` and `unit`, and what belongs to neither."""

    times: Int[np.ndarray, " spike"]
    waveforms: Float[np.ndarray, "spike channel"]
    records: Shaped[np.ndarray, " spike"]
    rate: Float[np.ndarray, " unit"]
    window: Float[np.ndarray, " spike_window"]
    name: str = "a"


@dataclass(frozen=True, slots=True, kw_only=True)
class Atoms:
    weights: Float[torch.Tensor, "atom channel"]
    num_before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    atoms: Atoms
    noise: Float[np.ndarray, " atom"]
    gain: float
    curve: Float[np.ndarray, " round"] = field(default_factory=lambda: np.array([7.0]))


def make_spikes(times, rates=(1.0, 2.0), name="a"):
    times = np.array(times, "int64")
    return Spikes(
        times=times,
        waveforms=np.stack([times, -times], axis=1).astype("float32"),
        records=np.array([(time,) for time in times], [("sample", "int32")]),
        rate=np.array(rates),
        window=np.zeros(9),
        name=name,
    )


def make_result():
    atoms = Atoms(weights=torch.tensor([[1.0, 2.0], [3.0, 4.0]]), num_before=3)
    return Result(atoms=atoms, noise=np.array([1.0, 2.0], "float32"), gain=0.5)


def test_a_field_belongs_to_the_axis_that_it_names_first():
    assert columns_along(Spikes, "spike") == ("times", "waveforms", "records")
    assert columns_along(Spikes, "unit") == ("rate",)
    with pytest.raises(TypeError, match="Spikes has no field whose first axis is 'channel'"):
        columns_along(Spikes, "channel")


@pytest.mark.parametrize("rows", [np.array([True, False, True]), np.array([0, 2]), slice(0, 3, 2)])
def test_rows_are_picked_along_one_axis_by_mask_indices_or_slice(rows):
    spikes = make_spikes([5, 6, 7])
    picked = select_rows(spikes, rows, "spike")
    assert picked.times.tolist() == picked.waveforms[:, 0].tolist() == picked.records["sample"].tolist() == [5, 7]
    assert picked.rate is spikes.rate
    assert picked.window is spikes.window
    assert select_rows(spikes, np.array([1]), "unit").rate.tolist() == [2.0]


def test_rows_of_tensors_are_picked_too():
    picked = select_rows(make_result().atoms, torch.tensor([False, True]), "atom")
    assert picked.weights.tolist() == [[3.0, 4.0]]
    assert picked.num_before == 3


def test_tables_are_joined_along_the_axes_that_are_asked_for():
    parts = [make_spikes([5, 6]), make_spikes([], name="b"), make_spikes([7], rates=(3.0,), name="c")]
    joined = concatenate_rows(parts, "spike")
    assert joined.times.tolist() == joined.waveforms[:, 0].tolist() == joined.records["sample"].tolist() == [5, 6, 7]
    assert joined.rate.tolist() == [1.0, 2.0]
    assert joined.name == "a"
    assert concatenate_rows(parts, "spike", "unit").rate.tolist() == [1.0, 2.0, 1.0, 2.0, 3.0]
    assert set(joined_columns(parts, "unit")) == {"rate"}


def test_joining_one_table_copies_its_rows():
    spikes = make_spikes([5, 6])
    concatenate_rows([spikes], "spike").times[0] = 9
    assert spikes.times.tolist() == [5, 6]


def test_a_column_of_another_length_is_named():
    check_lengths(make_spikes([5, 6]), "spike")
    odd = replace(make_spikes([5, 6]), waveforms=np.zeros((3, 2)))
    check_lengths(odd, "unit")
    with pytest.raises(ValueError, match=r"one entry per spike, but their shapes are .*'waveforms': \(3, 2\)"):
        check_lengths(odd, "spike")


def test_arrays_by_name_make_the_dataclass_again():
    arrays = to_arrays(make_result())
    assert {name: type(values) for name, values in arrays.items()} == dict.fromkeys(
        ("weights", "num_before", "noise", "gain", "curve"), np.ndarray
    )
    again = from_arrays(Result, arrays)
    torch.testing.assert_close(again.atoms.weights, make_result().atoms.weights)
    assert (again.atoms.num_before, again.gain) == (3, 0.5)
    assert (type(again.atoms.num_before), type(again.gain)) == (int, float)
    assert again.noise.tolist() == [1.0, 2.0]


def test_arrays_of_an_earlier_or_a_later_version_are_read():
    arrays = to_arrays(make_result()) | {"unheard_of": np.zeros(3)}
    del arrays["curve"]
    assert from_arrays(Result, arrays).curve.tolist() == [7.0]
    del arrays["weights"]
    with pytest.raises(TypeError, match="weights"):
        from_arrays(Result, arrays)
