"""Rounds of learning that never took place."""

import numpy as np
import torch

from si_crsae.core.types import Dictionary
from si_crsae.sorting.learning.rounds import LearningRound


def dictionary(num_atoms=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(num_atoms, 3, 2, generator=generator)
    return Dictionary(
        weights=weights / weights.flatten(1).norm(dim=1)[:, None, None],
        basis=torch.linalg.qr(torch.randn(9, 2, generator=generator)).Q.T.contiguous(),
        scales=torch.full((num_atoms,), 5.0),
        num_before=4,
    )


def learning_round(index, used, learned, **changes):
    values = {
        "group_index": 0,
        "channel_ids": np.array(["a", "b", "c"]),
        "round_index": index,
        "num_rounds": 3,
        "objective": 9.0 - index,
        "num_events": 100,
        "mean_regularization": 4.0,
    }
    return LearningRound(used=used, learned=learned, **(values | changes))
