"""One group of channels through all stages, each read from its file or computed and saved."""

import logging
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from spikeinterface.core import BaseRecording

from si_crsae.sorting.assumptions import Assumptions
from si_crsae.sorting.cleaning import clean_code, drop_parts, join_fragments
from si_crsae.sorting.drift.estimation import (
    DriftFound,
    keep_motion,
)
from si_crsae.sorting.drift.tissue import Tissue
from si_crsae.sorting.durations import assumed_of_templates
from si_crsae.sorting.encoding import encode_recording
from si_crsae.sorting.group_signal import GroupSignal
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
from si_crsae.sorting.signal.preprocessing import filtered_share
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

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class GroupSorting(GroupSignal):
    """The stages of one group of channels, each read from its file, or computed and saved where there is none.

    A stage asks for what it needs: nothing is read or filtered for those that are complete. Parameters are those of
    `GroupSignal`.
    """

    def complete(self) -> GroupResult:
        """Return what all stages have found, and drop the signal that they shared, whatever happens."""
        try:
            return self._result()
        finally:
            self.close()

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
