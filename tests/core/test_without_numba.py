"""Where numba cannot be had, the mathematics runs in torch and Python: slower, with the same result."""

import subprocess
import sys

import numpy as np

ENCODE = """
import sys

if sys.argv[1] == "without":
    sys.modules["numba"] = None  # as if it were not installed
import numpy as np
import torch
from si_crsae.core import Dictionary, Encoder, EncoderSettings, synthesize
from si_crsae.core.events.explanations import amplitude_information

time = torch.linspace(-3, 3, 24)
bell = torch.exp(-2 * time.square())
basis = torch.linalg.qr(torch.stack([bell, bell * time], dim=1)).Q.T.contiguous()
coefficients = torch.tensor([[[-20.0, 3.0], [-9.0, 4.0]], [[-8.0, -7.0], [-22.0, 2.0]]])
dictionary = Dictionary.from_coefficients(coefficients, basis, num_before=12)
generator = torch.Generator().manual_seed(0)
code = torch.zeros(1, 2, 3000)
code[0, 0, 50::97], code[0, 1, 60::83] = 22.0, 24.0
traces = synthesize(code, dictionary.atoms)[0]
traces = traces + torch.randn(traces.shape, generator=generator)
settings = EncoderSettings(
    regularization=np.full(2, 4.0, "float32"),
    min_amplitude=np.full(2, 13.0, "float32"),
    max_amplitude=np.full(2, 36.0, "float32"),
    noise=1.0,
    max_gap=5,
    refractory=10,
)
encoder = Encoder.of(dictionary, settings)
events = encoder.encode(encoder.correlate(traces))
seen = encoder.map_of(encoder.correlate(traces))
weights = seen.weigh(events, slice(None), max_move=8)
information = amplitude_information(events.located, seen.interactions(events), seen.scales, seen.odds)
np.save(sys.argv[2], np.stack([*events.located, weights.own, information]))
print(encoder.solver.kind.__name__)
"""


def test_the_encoder_finds_the_same_events_without_numba(tmp_path):
    found = []
    for word, solver in (("with", "Descent"), ("without", "ParallelDescent")):
        command = [sys.executable, "-c", ENCODE, word, str(tmp_path / f"{word}.npy")]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.stdout.split() == [solver], result.stderr
        found.append(np.load(tmp_path / f"{word}.npy"))
    assert found[0].shape[1] == len(range(50, 3000, 97)) + len(range(60, 3000, 83))
    np.testing.assert_array_equal(found[0][:2], found[1][:2])
    np.testing.assert_allclose(found[0][2], found[1][2], atol=0.1)
    np.testing.assert_allclose(found[0][3], found[1][3], rtol=0.01)
    np.testing.assert_allclose(found[0][4], found[1][4], rtol=0.03)  # the weights of the events
    np.testing.assert_allclose(found[0][5], found[1][5], atol=0.01)
