"""The encoder as a template-matching method of SpikeInterface."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from spikeinterface.core import BaseRecording, Templates
from spikeinterface.core.motion import Motion
from spikeinterface.sortingcomponents.matching import method_list
from spikeinterface.sortingcomponents.matching.base import BaseTemplateMatching

from si_crsae.config import CrsaeConfig, validate_parameters
from si_crsae.core.types import SparseEvents
from si_crsae.sorting.given import Normalization, encoder_of_templates, templates_in_traces
from si_crsae.sorting.model import margin_of
from si_crsae.sorting.signal.recording import describe_bad_sample, longest_tile, tile_bounds
from si_crsae.sorting.threads import one_thread_per_tile, one_torch_thread

PARAMETERS = ("regularization_scale", "min_amplitude", "solver", "device", "seed")


class CrsaeMatching(BaseTemplateMatching):
    """Find the spikes of given templates by convolutional sparse coding: overlapping ones are explained together.

    ``find_spikes_from_templates(recording, templates, method="crsae")``. The traces are used as they are, filtered or
    whitened or not; channels are scaled to unit noise and the noise that each template sees is measured.

    Parameters
    ----------
    recording : BaseRecording
    templates : Templates
        Dense or sparse, in uV or in the unit of the traces. One that does not stand out of the noise finds nothing.
    return_output : bool, default: True
        If False, the spikes are only handed to later nodes of a pipeline.
    motion : Motion, optional
        Of the tissue along the second axis of the probe, such as `load_motion` gives: templates are those where it is
        zero, and move with it. What they are elsewhere is predicted from there, of traces that are not whitened.
    **parameters
        See `params_doc`.

    Raises
    ------
    ValueError
        If a parameter is unknown or out of range, the templates do not fit the recording, or they or the traces are NaN
        or infinite.

    Warns
    -----
    UserWarning
        If templates do not stand out of the noise, or all are of another size than the spikes of the traces.
    """

    name = "crsae"
    need_noise_levels = False
    need_first_call_before_pipeline = True
    params_doc = "\n".join(f"{name} : {CrsaeConfig.sorter_descriptions()[name]}" for name in PARAMETERS)

    def __init__(
        self,
        recording: BaseRecording,
        templates: Templates,
        return_output: bool = True,
        motion: Motion | None = None,
        **parameters: Any,
    ) -> None:
        config = _validate(parameters)
        if motion is not None:
            _check_motion(motion, recording)
        given = templates_in_traces(recording, templates)
        super().__init__(recording, templates, return_output=return_output)
        self.recording = recording
        self.num_before, self.width = templates.nbefore, given.shape[2]
        self.normalization = Normalization.of(recording, seed=config.seed)
        scaled = given * self.normalization.gain[:, None]
        with one_thread_per_tile():
            self.encoder, self.unit_index = encoder_of_templates(
                self.normalization.apply(recording),
                scaled,
                config,
                num_before=self.num_before,
                gain=self.normalization.gain,
                motion=motion,
            )
        self.main_channel = np.linalg.norm(scaled, axis=2).argmax(axis=1)
        _warn_of_faint(templates, self.unit_index)

    def get_margin(self) -> int:
        """Return the samples that are read beyond a chunk on both sides."""
        return 0 if self.encoder is None else margin_of(self.encoder)

    def compute_matching(self, traces: np.ndarray, start_frame: int, end_frame: int, segment_index: int) -> np.ndarray:
        """Return the spikes of a chunk with its margins, times counted from the beginning of the margin."""
        if self.encoder is None or len(traces) < self.width:  # SpikeInterface tries it on the first samples
            return np.zeros(0, self.get_dtype())
        limits, first = self.normalization.plausible_limits, start_frame - self.get_margin()
        if problem := describe_bad_sample(self.recording, traces, limits, segment_index=segment_index, start=first):
            raise ValueError(problem)
        with one_torch_thread():
            events = self._encode(traces, segment_index, first)
        spikes = np.zeros(len(events), self.get_dtype())
        spikes["sample_index"] = events.sample_index + self.num_before
        spikes["cluster_index"] = self.unit_index[events.atom_index]
        spikes["channel_index"] = self.main_channel[spikes["cluster_index"]]
        spikes["amplitude"] = events.amplitude
        return spikes

    def _encode(
        self, traces: Float[np.ndarray, "sample channel"], segment_index: int, first_sample: int
    ) -> SparseEvents:
        """Return the events of a chunk, found tile by tile as the caches like it.

        `sample_index` holds shifts, `amplitude` the size of each relative to its template where the tissue is.
        """
        assert self.encoder is not None
        parts, margin, num_samples = [], self.get_margin(), len(traces)
        for start, end in tile_bounds(num_samples, longest_tile(traces.shape[1])):
            first, last = max(start - margin, 0), min(end + margin, num_samples)
            normalized = (traces[first:last] - self.normalization.baseline) * self.normalization.gain
            tensor = torch.from_numpy(np.ascontiguousarray(normalized.T, dtype="float32"))
            encoder = self.encoder.at(segment_index, first_sample + (start + end) // 2)
            events = encoder.encode(encoder.correlate(tensor))
            relative = events.amplitude / encoder.dictionary.scales.numpy()[events.atom_index]
            parts.append(replace(events, amplitude=relative).shifted(first).between(start, end))
        return SparseEvents.concatenate(parts)


def _validate(parameters: dict[str, Any]) -> CrsaeConfig:
    unknown = sorted(set(parameters) - set(PARAMETERS))
    if unknown:
        raise ValueError(f"method_kwargs {unknown}: unknown to the matching method 'crsae', which takes {PARAMETERS}")
    return validate_parameters(parameters)


def _check_motion(motion: object, recording: BaseRecording) -> None:
    if not isinstance(motion, Motion):
        raise ValueError(
            f"motion = {type(motion).__name__}: a spikeinterface.core.motion.Motion is needed, such as "
            "si_crsae.load_motion('run')[group]['motion'] or compute_motion give"
        )
    if motion.direction != "y":
        raise ValueError(f"motion.direction = {motion.direction!r}: templates move along the probe, 'y'")
    if motion.num_segments != recording.get_num_segments():
        raise ValueError(
            f"motion: it has {motion.num_segments} segments and the recording {recording.get_num_segments()}; give the "
            "motion of this recording"
        )
    if not recording.has_probe():
        raise ValueError("motion: the recording has no probe along which templates could move; recording.set_probe")


def _warn_of_faint(templates: Templates, unit_index: np.ndarray) -> None:
    faint = np.delete(np.asarray(templates.unit_ids), unit_index)
    if faint.size:
        warnings.warn(
            f"templates of units {faint.tolist()} do not stand out of the noise: no spike of theirs will be found; "
            "leave them out, or filter or whiten the recording first",
            UserWarning,
            stacklevel=4,
        )


def register(method_list: Any) -> None:
    """Add `CrsaeMatching` to SpikeInterface's table of template-matching methods; doing it twice changes nothing."""
    method_list.matching_methods.setdefault(CrsaeMatching.name, CrsaeMatching)


# SpikeInterface's methods, imported from here, have asked for this module while it was half-way through its imports.
register(method_list)
