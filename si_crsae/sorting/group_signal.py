"""The signal of one group of channels, as the stages of its sorting read it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from spikeinterface.core import BaseRecording

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.drift.estimation import DRIFT_FILE, DriftFound, can_estimate, find_drift, still_traces
from si_crsae.sorting.drift.tissue import Tissue
from si_crsae.sorting.resources import Resources
from si_crsae.sorting.runs.progress import Progress
from si_crsae.sorting.signal.artifacts import find_artifacts, tell_artifacts
from si_crsae.sorting.signal.caching import Cache, cache, drop_cache
from si_crsae.sorting.signal.channels import find_bad_channels
from si_crsae.sorting.signal.periods import EXCLUDED_FILE, ExcludedPeriods, exclude
from si_crsae.sorting.signal.preprocessing import Whitening, filter_traces
from si_crsae.sorting.signal.recording import Tile, plan_training_windows, select_channels, select_windows
from si_crsae.sorting.stages import load_or_compute
from si_crsae.sorting.whitening import save_whitened


@dataclass(frozen=True, kw_only=True)
class GroupSignal:
    """The signal of one group of channels, from raw traces to what units are learned from; computed when asked for.

    Parameters
    ----------
    group : BaseRecording
        Raw, all channels of the group, on one probe.
    folder : Path
        Where the stages of the group are saved.
    config : CrsaeConfig
    resources : Resources
    progress : Progress, optional
        Which group it is, and whether its bars are shown.
    given : ExcludedPeriods, optional
        Periods that the user excludes.
    """

    group: BaseRecording
    folder: Path
    config: CrsaeConfig
    resources: Resources
    progress: Progress = field(default_factory=Progress)
    given: ExcludedPeriods = field(default_factory=ExcludedPeriods)

    def close(self) -> None:
        """Drop the signal that the stages share."""
        if "_cache" in vars(self):
            vars(self).pop("_cache").close()
        drop_cache(self.folder / "cache")

    @cached_property
    def is_usable(self) -> Bool[np.ndarray, " channel"]:
        """Whether each channel of the group carries a signal of its own."""
        seen = exclude(self.group, self.given, self.config)
        return find_bad_channels(seen, self.config).usable_mask(self.group)

    @cached_property
    def excluded(self) -> ExcludedPeriods:
        """The periods in which nothing is learned or found."""
        if self.config.exclude_artifacts is False:
            return self.given
        return load_or_compute(self.folder / EXCLUDED_FILE, ExcludedPeriods, self._find_excluded)

    @cached_property
    def recording(self) -> BaseRecording:
        """The usable channels, raw, without what was recorded in the excluded periods."""
        return exclude(select_channels(self.group, self.is_usable), self.excluded, self.config)

    @cached_property
    def whitened(self) -> BaseRecording:
        """The preprocessed signal, computed as it is read."""
        whitened = self._whitening.apply(self._filtered)
        save_whitened(whitened, self.folder)
        return whitened

    @cached_property
    def _filtered(self) -> BaseRecording:
        return still_traces(self._moving, self.drift, self.config)

    @cached_property
    def _moving(self) -> BaseRecording:
        """The filtered signal as it was recorded."""
        return filter_traces(self.recording, self.config)

    @cached_property
    def _whitening(self) -> Whitening:
        return Whitening.of(self._filtered, self.config, is_excluded=self.excluded.contain)

    @cached_property
    def drift(self) -> DriftFound:
        """How the tissue has moved."""
        if self.config.apply_motion_correction is False or not can_estimate(self.recording, self.config):
            return DriftFound()
        return load_or_compute(self.folder / DRIFT_FILE, DriftFound, self._find_drift)

    @cached_property
    def _tissue(self) -> Tissue | None:
        """The tissue that templates move with, if any does."""
        if not self.drift.is_followed or self.config.motion_correction_mode != "templates":
            return None
        return Tissue.of(self.recording, self.drift.motion, self._whitening)

    @property
    def training(self) -> BaseRecording:
        """The part of the preprocessed signal to learn from, computed once and kept."""
        return self._cache.recording

    @cached_property
    def _cache(self) -> Cache:
        job_kwargs = self.resources.filter_kwargs(self.recording)
        with self.progress.stage("preprocess"):
            windows = select_windows(self.whitened, self._windows)
            return cache(windows, self.config, folder=self.folder / "cache", job_kwargs=job_kwargs)

    @property
    def signal(self) -> BaseRecording:
        """All of the preprocessed signal, that to learn from where there is no more."""
        return self.training if self._windows is None else self.whitened

    @cached_property
    def _windows(self) -> list[Tile] | None:
        return plan_training_windows(self.whitened, self.config.learning_duration_s, seed=self.config.seed)

    @property
    def _training_tissue(self) -> Tissue | None:
        return None if self._tissue is None else self._tissue.in_windows(self._windows)

    @contextmanager
    def _held_still(self, training: BaseRecording) -> Iterator[BaseRecording]:
        """Give the signal to learn from as it would be at rest, computed once."""
        tissue = self._training_tissue
        if tissue is None:
            yield training
            return
        with self._computed(tissue.at_rest(training, self.config)) as still:
            yield still

    @contextmanager
    def _computed(self, signal: BaseRecording) -> Iterator[BaseRecording]:
        """Give a signal, which is read several times, computed once; not in memory, where that to learn from lies."""
        mode = self.config.cache_preprocessing_mode
        config = (
            self.config if mode == "no-cache" else self.config.model_copy(update={"cache_preprocessing_mode": "folder"})
        )
        job_kwargs = self.resources.filter_kwargs(self.recording)
        kept = cache(signal, config, folder=self.folder / "scratch", job_kwargs=job_kwargs)
        try:
            yield kept.recording
        finally:
            kept.close()

    def _find_excluded(self) -> ExcludedPeriods:
        usable = exclude(select_channels(self.group, self.is_usable), self.given, self.config)
        with self.progress.stage("artifacts") as bar:
            found = find_artifacts(usable, self.config, num_threads=self.resources.num_threads, bar=bar)
        if len(found):
            tell_artifacts(found, usable, self.progress.place)
        return self.given.with_artifacts(found) if len(found) else self.given

    def _find_drift(self) -> DriftFound:
        job_kwargs = self.resources.filter_kwargs(self.recording)
        with self.progress.stage("motion"):
            return find_drift(self._moving, self.config, folder=self.folder, job_kwargs=job_kwargs)
