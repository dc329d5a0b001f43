"""From a trained CRsAE to spikes: the events of windows, and atoms learned from them rather than from the l1 code."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.ndimage import maximum_filter1d
from torch import Tensor

from si_crsae.core.events.encoder import EVENT_PRICE, MAX_REGULARIZATION_TO_SCALE, Encoder, EncoderSettings
from si_crsae.core.events.refine import group_code
from si_crsae.core.maximization import normal_equations, update_atoms
from si_crsae.core.robust import robust_sd
from si_crsae.core.solvers.windows import solve_windows
from si_crsae.core.tables import concatenate_rows
from si_crsae.core.threads import in_threads
from si_crsae.core.types import Dictionary
from si_crsae.models.arrays import as_floats, as_windows
from si_crsae.models.crsae.autoencoder import Crsae, reconstruction_loss

# Non-zeros of one atom up to this far apart are one event (samples).
_MAX_GAP = 3
# Amplitudes of accepted events, in units of the atom's typical one.
_AMPLITUDE_RANGE = (0.4, 1.8)
# Within these the spread of amplitudes is what it was measured to be.
_SPREAD_RANGE = (0.05, 0.3)
# Windows that are encoded side by side, with silence between them, as one signal.
_WINDOWS_PER_SIGNAL = 128
_MAX_WINDOWS_TO_CALIBRATE = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowEvents:
    """Events of windows, sorted by window, then time.

    Parameters
    ----------
    batch_index : ndarray of int64, shape (event,)
        Window.
    shift : ndarray of int64, shape (event,)
        Nearest to the first sample of the atom.
    offset : ndarray of float32, shape (event,)
        From there to its first sample.
    atom_index : ndarray of int64, shape (event,)
    amplitude : ndarray of float32, shape (event,)
        Coefficient of the unit-norm atom, without the shrinkage of the l1 code.
    misfit : ndarray of float32, shape (event,)
        Largest correlation of an atom with what the events leave, within a width of the event, in noise standard
        deviations. Noise alone stays below 4 or 5; a collision that was explained by the wrong events does not.
    """

    batch_index: Int[np.ndarray, " event"]
    shift: Int[np.ndarray, " event"]
    offset: Float[np.ndarray, " event"]
    atom_index: Int[np.ndarray, " event"]
    amplitude: Float[np.ndarray, " event"]
    misfit: Float[np.ndarray, " event"]

    def to_code(self, shape: tuple[int, int, int]) -> Float[Tensor, "batch atom shift"]:
        """Return the events as a code, each on its nearest shift."""
        code = torch.zeros(shape)
        code[self.batch_index, self.atom_index, self.shift] = torch.from_numpy(self.amplitude)
        return code


def make_event_encoder(model: Crsae, windows: Float[Tensor, "batch channel sample"] | ArrayLike) -> Encoder:
    """Return the encoder that finds a model's events: amplitude windows and their spread come from some windows.

    Parameters
    ----------
    model : Crsae
        For traces; the encoder works on the CPU, wherever the model lies.
    windows : Tensor, shape (batch, channel, sample)
        Some of which the typical amplitude of each atom is measured on.

    Returns
    -------
    Encoder
        An atom without events in these windows is taken out.

    Raises
    ------
    ValueError
        If the windows are none or not finite, or the model is one for images.
    """
    if model.atoms.ndim != 3:
        raise ValueError(
            f"model.atoms has shape {tuple(model.atoms.shape)}: events are those of traces, one axis of samples"
        )
    windows = as_windows(windows, name="windows", atoms=model.atoms)
    atoms, level = model.atoms.detach().cpu(), model.regularization.detach().cpu()
    sample = windows[:: -(-len(windows) // _MAX_WINDOWS_TO_CALIBRATE)]
    scales, spread = _typical_amplitudes(model, sample)
    width = atoms.shape[2]
    is_used = scales > 0
    dictionary = Dictionary.from_coefficients(
        atoms * torch.from_numpy(np.where(is_used, scales, 1.0).astype("float32"))[:, None, None],
        torch.eye(width),
        num_before=0,
    )
    lambdas = np.where(is_used, np.minimum(level.numpy(), MAX_REGULARIZATION_TO_SCALE * scales), np.inf)
    settings = EncoderSettings(
        regularization=lambdas.astype("float32"),
        min_amplitude=(_AMPLITUDE_RANGE[0] * scales).astype("float32"),
        max_amplitude=(_AMPLITUDE_RANGE[1] * scales).astype("float32"),
        noise=model.noise_sd,
        max_gap=_MAX_GAP,
        refractory=width,
        amplitude_spread=spread,
        two_sided=not model.nonnegative,
    )
    return Encoder.of(dictionary, settings)


def find_events(encoder: Encoder, windows: Float[Tensor, "batch channel sample"] | ArrayLike) -> WindowEvents:
    """Return the events of windows, none of which meets another.

    Parameters
    ----------
    encoder : Encoder
        From `make_event_encoder`.
    windows : Tensor, shape (batch, channel, sample)
        Side by side on as many threads of the CPU as torch takes.

    Returns
    -------
    WindowEvents

    Raises
    ------
    ValueError
        If the windows are none or not finite.
    """
    windows = as_floats(windows, name="windows").detach().cpu()
    windows = as_windows(windows, name="windows", atoms=encoder.dictionary.atoms)
    num_samples, width = windows.shape[2], encoder.dictionary.width
    stride = num_samples + width

    def encode(group: slice) -> WindowEvents:
        signal = torch.nn.functional.pad(windows[group], (0, width)).transpose(0, 1).flatten(1)
        correlation = encoder.correlate(signal)
        events = encoder.encode(correlation)
        inside = events.select(events.sample_index % stride <= num_samples - width)
        left = np.abs(encoder.subtract(correlation, events)).max(axis=0, initial=0.0)
        misfit = maximum_filter1d(left, 2 * width - 1) / encoder.settings.noise
        return WindowEvents(
            batch_index=group.start + inside.sample_index // stride,
            shift=inside.sample_index % stride,
            offset=inside.sample_offset,
            atom_index=inside.atom_index,
            amplitude=inside.amplitude,
            misfit=misfit[inside.sample_index],
        )

    parts = list(in_threads(encode, len(windows), per_task=_WINDOWS_PER_SIGNAL))
    return concatenate_rows(parts, "event")


def group_windows(
    code: Float[Tensor, "batch atom shift"],
) -> tuple[
    Int[np.ndarray, " event"], Int[np.ndarray, " event"], Int[np.ndarray, " event"], Float[np.ndarray, " event"]
]:
    """Return the events of a code as it is, neighboring shifts of one atom grouped, amplitudes still shrunk.

    Parameters
    ----------
    code : Tensor, shape (batch, atom, shift)

    Returns
    -------
    atom_index, batch_index, shift : ndarray of int64, shape (event,)
    amplitude : ndarray of float32, shape (event,)
        Sum of the group.
    """
    stride = code.shape[2] + _MAX_GAP
    signal = torch.nn.functional.pad(code, (0, _MAX_GAP)).transpose(0, 1).flatten(1)
    events = group_code(signal.cpu().numpy(), _MAX_GAP)
    return events.atom_index, events.shift // stride, events.shift % stride, events.amplitude


class EventMaximization:
    """Atoms from events rather than from the l1 code, which is shrunk and spread over neighboring shifts.

    For atoms that `ExpectationMaximization` has brought near the truth: an event that is accepted has one time and an
    amplitude without penalty, so that nothing of it is missing from the average that its atom becomes.

    Parameters
    ----------
    model : Crsae
        Trained in place; its rate stays.
    """

    def __init__(self, model: Crsae) -> None:
        self.model = model

    def step(self, windows: Tensor) -> float:
        """Set the atoms to their optimum for a mini-batch; returns the loss before."""
        windows = as_windows(windows, name="windows", atoms=self.model.atoms)
        code = self._encode(windows)
        loss = self._loss_of(code, windows)
        with torch.no_grad():
            self.model.atoms.copy_(update_atoms(normal_equations(code, windows), self.model.atoms))
        return loss

    def loss(self, windows: Tensor) -> float:
        """Return half the squared error that the events leave, in noise variances, and their price, per window.

        Without the price, atoms that explain a few events less and leave them out of the code would seem worse or
        better by what those events were worth.
        """
        windows = as_windows(windows, name="windows", atoms=self.model.atoms)
        return self._loss_of(self._encode(windows), windows)

    @torch.no_grad()
    def _loss_of(self, code: Tensor, windows: Tensor) -> float:
        misfit = reconstruction_loss(windows, self.model.decode(code)) / self.model.noise_sd**2
        return float(misfit) + EVENT_PRICE * int(code.count_nonzero()) / len(windows)

    def _encode(self, windows: Tensor) -> Tensor:
        events = find_events(make_event_encoder(self.model, windows), windows)
        num_atoms, _, width = self.model.atoms.shape
        return events.to_code((len(windows), num_atoms, windows.shape[2] - width + 1)).to(windows.device)


def _typical_amplitudes(model: Crsae, windows: Tensor) -> tuple[Float[np.ndarray, " atom"], float]:
    """Return the typical amplitude of each atom, 0 without events, and how far amplitudes spread around it."""
    level = model.regularization.detach()
    tolerance = 0.05 * float(level.min())
    code = solve_windows(windows, model.atoms.detach(), level, tolerance=tolerance, nonnegative=model.nonnegative)
    atom_index, _, _, amplitude = group_windows(code)
    size = np.abs(amplitude) + level.cpu().numpy()[atom_index]
    scales = np.zeros(len(level), "float32")
    spreads = []
    for atom in np.unique(atom_index):
        own = np.sort(size[atom_index == atom])
        energy = np.cumsum(own**2)  # what is noise or a rest is small, and many
        typical = own[own > own[np.searchsorted(energy, energy[-1] / 2)] / 2]
        scales[atom] = np.median(typical)
        spreads.append(float(robust_sd(typical)) / scales[atom])
    return scales, float(np.clip(np.median(spreads) if spreads else 0.0, *_SPREAD_RANGE))
