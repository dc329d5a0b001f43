"""What is said of a variational code, on codes made by hand."""

import math

import numpy as np
import pytest
import torch

from si_crsae.core.code_distribution import CodeDistribution, ShiftedThreshold
from si_crsae.models.variational.model import VariationalModel
from si_crsae.models.variational.statistics import describe_codes, jaccard_index, mean_mutual_information, statistics_of


def supports(device, *rows):
    return torch.tensor(rows, dtype=torch.bool, device=device)[:, :, None]


def uniform(device, seed, *shape):
    return torch.as_tensor(np.random.default_rng(seed).uniform(-1, 1, shape), dtype=torch.float32, device=device)


def statistics(first, second=None, *, divergence=None):
    return statistics_of(
        first,
        first if second is None else second,
        divergence=torch.ones_like(first) if divergence is None else divergence,
        squared_error=0.0,
    )


def entropy(*shares):
    return -sum(share * math.log2(share) for share in shares if share)


def test_the_jaccard_index_is_what_is_shared_of_what_either_has(device):
    first = supports(device, [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1])
    second = supports(device, [0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1])
    for window, expected in enumerate((1 / 3, 0.0, 1.0, 1.0)):
        assert jaccard_index(first[window : window + 1], second[window : window + 1]) == pytest.approx(expected)
    assert jaccard_index(first, second) == pytest.approx((1 / 3 + 0 + 1 + 1) / 4)
    assert jaccard_index(second, first) == jaccard_index(first, second)


def test_the_jaccard_index_of_a_window_is_over_all_shifts(device):
    first, second = torch.zeros(2, 1, 2, 3, dtype=torch.bool, device=device)
    first[0, 0, 0] = second[0, 0, 0] = True
    first[0, 1, 2] = True
    second[0, 1, 1] = True
    assert jaccard_index(first, second) == pytest.approx(1 / 3)


def test_independent_coefficients_tell_nothing_of_each_other(device):
    codes = uniform(device, 0, 20_000, 5)
    assert abs(mean_mutual_information(codes)) < 2e-3
    sparse = codes * (uniform(device, 1, 20_000, 5) > 0.6)
    assert abs(mean_mutual_information(sparse)) < 2e-3


def test_the_bias_of_few_observations_is_taken_off(device):
    found = [mean_mutual_information(uniform(device, seed, 300, 10)) for seed in range(10)]
    # Without that it would be 49 surplus cells of 600, in bits: 0.12.
    assert abs(np.mean(found)) < 0.02


def test_a_copied_coefficient_tells_its_entropy(device):
    column = uniform(device, 0, 20_000, 1)
    assert mean_mutual_information(torch.cat([column, column], dim=1)) == pytest.approx(3.0, abs=2e-3)
    assert mean_mutual_information(torch.cat([column, -column], dim=1)) == pytest.approx(3.0, abs=2e-3)
    assert mean_mutual_information(torch.cat([column, column], dim=1), num_bins=4) == pytest.approx(2.0, abs=2e-3)


@pytest.mark.parametrize("joint", [(0.4, 0.1, 0.1, 0.4), (0.5, 0.25, 0.0, 0.25), (0.25, 0.25, 0.25, 0.25)])
def test_mutual_information_of_two_coins_is_that_of_their_table(device, joint):
    num_observations = 20_000
    counts = [round(share * num_observations) for share in joint]
    cells = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], device=device)
    codes = torch.cat([cell.repeat(count, 1) for cell, count in zip(cells, counts, strict=True)])
    both, left, right = entropy(*joint), joint[0] + joint[1], joint[0] + joint[2]
    expected = entropy(left, 1 - left) + entropy(right, 1 - right) - both
    assert mean_mutual_information(codes) == pytest.approx(expected, abs=1e-3)


def test_mutual_information_is_the_mean_over_pairs(device):
    column, others = uniform(device, 0, 20_000, 1), uniform(device, 1, 20_000, 2)
    codes = torch.cat([column, column, others], dim=1)
    # One pair of six is of copies.
    assert mean_mutual_information(codes) == pytest.approx(3.0 / 6, abs=2e-3)
    assert mean_mutual_information(codes[:, [2, 0, 3, 1]]) == pytest.approx(mean_mutual_information(codes))


def test_a_constant_coefficient_or_a_single_one_has_no_information(device):
    column = uniform(device, 0, 1000, 1)
    assert mean_mutual_information(column) == 0.0
    assert mean_mutual_information(torch.zeros(0, 3, device=device)) == 0.0
    with_constants = torch.cat([column, torch.zeros_like(column), torch.zeros_like(column)], dim=1)
    assert mean_mutual_information(with_constants) == pytest.approx(0.0, abs=1e-6)


def test_collapse_is_being_small_in_95_percent_of_the_windows(device):
    divergence = torch.ones(100, 4, 1, device=device)
    divergence[:95, 0] = 0.01
    divergence[:94, 1] = 0.01
    divergence[:, 2] = 0.0
    code = torch.ones(100, 4, 1, device=device)
    code[:95, 3] = -0.01
    code[:, 0] = 0.0
    code[:, 1] = 0.02
    found = statistics(code, divergence=divergence)
    assert found.posterior_collapse == 0.5
    assert found.coefficient_collapse == 0.5
    assert found.silent == 0.25


def test_sizes_and_numbers_are_of_the_first_draw_and_of_a_window(device):
    first = torch.tensor([[[1.0, -2.0], [0.0, 0.0]], [[0.0, 0.5], [0.0, 0.0]]], device=device)
    found = statistics(first, torch.full_like(first, 7.0))
    assert found.l1_norm == pytest.approx((3.0 + 0.5) / 2)
    assert found.num_active == pytest.approx(1.5)
    assert found.silent == 0.5
    assert found.jaccard == pytest.approx((2 / 4 + 1 / 4) / 2)


class Told(torch.nn.Module):
    """Tells the same heads of every window."""

    def __init__(self, heads):
        super().__init__()
        self.heads = heads

    def forward(self, windows, atoms):
        return {name: head.expand(len(windows), -1, -1) for name, head in self.heads.items()}


def test_a_model_is_described_by_two_draws_and_its_squared_error(device):
    distribution = CodeDistribution(threshold=ShiftedThreshold(level=0.5))
    heads = {
        "shift": torch.tensor([2.0, 3.0, 0.0], device=device).view(1, 3, 1),
        "log_scale": torch.tensor([1e5, 1e-5, 0.1], device=device).log().view(1, 3, 1),
    }
    heads["log_scale"][0, 0] = 5.0
    atoms = torch.eye(3, device=device)[:, :, None] * 1e-6
    model = VariationalModel(atoms, Told(heads), distribution)
    windows = torch.ones(500, 3, 1, device=device)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = describe_codes(model, windows)
    assert found.squared_error == pytest.approx(1.5, abs=1e-2)
    assert found.silent >= 1 / 3
    assert found.num_active == pytest.approx(1.0, abs=0.05)
    assert found.jaccard > 0.95
    assert found.posterior_collapse == pytest.approx(1 / 3)
