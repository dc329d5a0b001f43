"""One group of channels through all stages, each read from its file or computed and saved."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from spikeinterface.core import BaseRecording

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.assumptions import Assumptions
from si_crsae.sorting.cleaning import clean_code, drop_parts, join_fragments
from si_crsae.sorting.drift.estimation import (
    DRIFT_FILE,
    DriftFound,
    can_estimate,
    find_drift,
    keep_motion,
    still_traces,
)
from si_crsae.sorting.drift.tissue import Tissue
from si_crsae.sorting.durations import assumed_of_templates
from si_crsae.sorting.encoding import encode_recording
from si_crsae.sorting.inventory import GroupResult
from si_crsae.sorting.learning.history import AFTER_ROUNDS, History
from si_crsae.sorting.learning.initialization import find_templates
from si_crsae.sorting.learning.learner import Learner
from si_crsae.sorting.learning.rounds import listen
from si_crsae.sorting.model import make_encoder
from si_crsae.sorting.probabilities.context import CodeInContext
from si_crsae.sorting.probabilities.evidence import encode_and_weigh
from si_crsae.sorting.probabilities.posterior import infer_posterior
from si_crsae.sorting.quality.labels import UnitQuality, infer_quality
from si_crsae.sorting.resources import Resources
from si_crsae.sorting.runs.progress import Progress
from si_crsae.sorting.signal.artifacts import find_artifacts, tell_artifacts
from si_crsae.sorting.signal.caching import Cache, cache, drop_cache
from si_crsae.sorting.signal.channels import find_bad_channels
from si_crsae.sorting.signal.periods import EXCLUDED_FILE, ExcludedPeriods, exclude
from si_crsae.sorting.signal.preprocessing import Whitening, filter_traces, filtered_share
from si_crsae.sorting.signal.recording import (
    Tile,
    plan_training_windows,
    select_channels,
    select_windows,
)
from si_crsae.sorting.stages import (
    AnyCode,
    CleanCode,
    CleanWeighedCode,
    Code,
    InitialTemplates,
    LearningResult,
    SpikePosterior,
    WeighedCode,
    load_or_compute,
)
from si_crsae.sorting.whitening import save_whitened

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class GroupSorting:
    """The stages of one group of channels, each read from its file, or computed and saved where there is none.

    A stage asks for what it needs: nothing is read or filtered for those that are complete.

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

    def complete(self) -> GroupResult:
        """Return what all stages have found, and drop the signal that they shared, whatever happens."""
        try:
            return self._result()
        finally:
            if "_cache" in vars(self):
                vars(self).pop("_cache").close()
            drop_cache(self.folder / "cache")

    def _result(self) -> GroupResult:
        if not self.is_usable.any():
            return GroupResult(recording=self.group, learned=None, code=None, excluded=self.given)
        learned = self.learned
        if learned.model.dictionary.num_atoms == 0:
            return GroupResult(recording=self.recording, learned=learned, code=None, excluded=self.excluded)
        return GroupResult(
            recording=self.recording,
            learned=learned,
            code=self.cleaned,
            posterior=self.posterior,
            quality=self._judge(),
            excluded=self.excluded,
            decisions_after=self._cleaning.decisions,
        )

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

    @cached_property
    def initial(self) -> InitialTemplates:
        """The templates that learning starts from."""
        return load_or_compute(self.folder / "initialize.npz", InitialTemplates, self._initialize)

    @cached_property
    def learned(self) -> LearningResult:
        """The model and how it was learned."""
        return load_or_compute(self.folder / "learn.npz", LearningResult, self._learn)

    @cached_property
    def encoded(self) -> Code:
        """The events of the whole signal, weighed if their probabilities are asked for."""
        return load_or_compute(self.folder / "encode.npz", self._code_type, self._encode)

    @property
    def cleaned(self) -> Code:
        """The events that are spikes of units worth keeping."""
        return self._cleaning.code

    @cached_property
    def _cleaning(self) -> CleanCode:
        result_type = CleanWeighedCode if self.config.spike_probabilities else CleanCode
        return load_or_compute(self.folder / "clean.npz", result_type, self._clean)

    @cached_property
    def posterior(self) -> SpikePosterior | None:
        """What is expected of the spikes, None unless it is asked for."""
        if not self.config.spike_probabilities:
            return None
        return load_or_compute(self.folder / "posterior.npz", SpikePosterior, self._infer)

    @property
    def _assumed(self) -> Assumptions:
        """What suits the length of the templates that are asked for."""
        return assumed_of_templates(self.config)

    @property
    def _code_type(self) -> type[Code]:
        return WeighedCode if self.config.spike_probabilities else Code

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

    def _initialize(self) -> InitialTemplates:
        training = self.training  # first: it has a bar of its own
        with self.progress.stage("initialize"), self._held_still(training) as still:
            found = self._find_templates(still)
        duration_s = training.get_total_duration()
        self._tell("found %d candidate units in %.0f s of signal", len(found.templates), duration_s)
        return found

    def _find_templates(self, signal: BaseRecording) -> InitialTemplates:
        history = History(self.recording.channel_ids)
        templates = find_templates(
            signal,
            self.config,
            fit_window=True,
            job_kwargs=self.resources.job_kwargs,
            assumed=self._assumed,
            history=history,
        )
        return InitialTemplates(templates=templates, decisions=history.table)

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

    def _learn(self) -> LearningResult:
        nothing = LearningResult.without_atoms(num_channels=self.recording.get_num_channels())
        if len(self.initial.templates) == 0:
            return replace(nothing, decisions=self.initial.decisions)
        learner = self._make_learner()
        history = learner.history
        with self.progress.stage("learn") as bar, listen(lambda _: bar.advance()):
            bar.expect(self.config.num_rounds)
            model, curve = learner.learn(group_index=self.progress.group_index)
        if learner.tissue is not None:
            keep_motion(learner.tissue.trajectory.motion, self.folder)
        if model is None:
            self._tell("learning kept none of them")
            return replace(nothing, decisions=history.table)
        self._tell("learned the waveforms of %d units", model.dictionary.num_atoms)
        return LearningResult(
            model=model,
            curve=curve,
            unit_numbers=np.array(learner.unit_numbers),
            decisions=history.table,
            drift=self._drift_after(learner.tissue),
        )

    def _make_learner(self) -> Learner:
        """Return what learns, with the tissue at rest if the signal is explained better so than by its motion.

        A motion that is none makes several units of one, each for another displacement, which explain much of the
        signal together. So what they are compared with are the units that are found in the same part of the time if
        nothing moves.
        """
        tissue = self._training_tissue
        if tissue is None:
            return self._learner_from(self.initial, self.training)
        with self.progress.stage("compare with tissue at rest"):
            moving = self._learner_from(self.initial, self.training, tissue)
            moving.settle()
            near_rest = tissue.near_rest(self.training)
            unmoved = self._find_templates(near_rest)
            if len(unmoved.templates) == 0:
                return moving
            at_rest = self._learner_from(unmoved, near_rest)
            at_rest.settle()
            gain = at_rest.objective_on(self.training) - moving.objective_on(self.training)
        logger.info("units that move lower the objective by %.0f", gain)
        if gain > 0:
            return moving
        logger.warning("the motion found is not followed: units at rest explain the recording better")
        return self._learner_from(unmoved, self.training)

    def _learner_from(self, initial: InitialTemplates, signal: BaseRecording, tissue: Tissue | None = None) -> Learner:
        learner = Learner(
            signal,
            initial.templates,
            initial.fitted(self.config, signal.sampling_frequency),
            num_threads=self.resources.num_threads,
            job_kwargs=self.resources.job_kwargs,
            assumed=self._assumed,
            history=History(self.recording.channel_ids, earlier=initial.decisions),
            tissue=tissue,
        )
        learner.computed = self._computed
        return learner

    def _drift_after(self, tissue: Tissue | None) -> DriftFound:
        """Return the motion as learning has left it: refined, refused, or untouched where the traces follow it."""
        if tissue is not None:
            return self.drift.refined(tissue.trajectory.motion)
        return self.drift if self._tissue is None else replace(self.drift, is_followed=False)

    def _encode(self) -> Code:
        """Return the events; they are weighed while they are found.

        The residual and the correlation map are at hand then, so that the signal is not read and filtered once more.
        """
        learned, trajectory = self.learned, None
        if not learned.model.moving.are_still:
            trajectory = learned.trajectory_of(self.recording)
        encoder = make_encoder(
            learned.model, self.config, sampling_frequency=self.recording.sampling_frequency, trajectory=trajectory
        )
        signal, num_threads = self.signal, self.resources.num_threads
        with self.progress.stage("encode") as bar:
            if self.config.spike_probabilities:
                code: Code = encode_and_weigh(signal, encoder, num_threads=num_threads, bar=bar)
            else:
                code = Code.of(encode_recording(signal, encoder, num_threads=num_threads, bar=bar))
        code = code.select(~self.excluded.contain(code.segment_index, code.sample_index))
        self._tell("explained the signal by %d spikes", len(code.sample_index))
        return code

    def _clean(self) -> CleanCode:
        history = History(self.recording.channel_ids, atoms=self.learned.units, first_round=AFTER_ROUNDS)
        recording, frequency = self.recording, self.recording.sampling_frequency
        dictionary = self.learned.model.dictionary
        joined = join_fragments(
            self.encoded,
            dictionary,
            sampling_frequency=frequency,
            num_samples=[recording.get_num_samples(segment) for segment in range(recording.get_num_segments())],
            assumed=self._assumed,
            history=history,
        )
        whole = drop_parts(joined, dictionary, sampling_frequency=frequency, assumed=self._assumed, history=history)
        share = filtered_share(recording, self.config, is_excluded=self.excluded.contain)
        duration_s = self.excluded.kept_s(recording) * share
        code = clean_code(whole, self.config, sampling_frequency=frequency, duration_s=duration_s, history=history)
        num_learned, num_kept = (np.unique(which.atom_index).size for which in (self.encoded, code))
        self._tell("kept %d of %d units, with %d spikes", num_kept, num_learned, len(code.sample_index))
        if isinstance(code, WeighedCode):
            return CleanWeighedCode(code=code, decisions=history.table)
        return CleanCode(code=code, decisions=history.table)

    def _tell(self, message: str, *figures: object) -> None:
        """Say what a stage has found, in words that need no knowledge of the method."""
        logger.info("%s" + message, self.progress.place, *figures)

    def _infer(self) -> SpikePosterior:
        code = self.cleaned
        assert isinstance(code, WeighedCode), "the code is weighed where a posterior is asked for"
        with self.progress.stage("spike probabilities"):
            return infer_posterior(self._in_context(code))

    def _judge(self) -> UnitQuality:
        return infer_quality(self._in_context(self.cleaned.unweighed))

    def _in_context(self, code: AnyCode) -> CodeInContext[AnyCode]:
        return CodeInContext.of(
            self.recording, code, self.learned.model, self.config, num_excluded=self.excluded.num_samples
        )
