"""The sorter's stages: check, preprocess, initialize, learn, encode, clean, posterior if asked for, write."""

import logging
import threading
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from spikeinterface.core import BaseRecording
from spikeinterface.core.job_tools import fix_job_kwargs

from si_crsae.config import CHUNK_LENGTHS, CrsaeConfig
from si_crsae.sorting.checks import resolve_device
from si_crsae.sorting.cleaning import clean_code, drop_parts, join_fragments
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
from si_crsae.sorting.results import write_results
from si_crsae.sorting.runs.logs import log_to
from si_crsae.sorting.runs.manifest import begin, mark_complete
from si_crsae.sorting.runs.progress import Progress
from si_crsae.sorting.signal.caching import Cache, cache, drop_cache
from si_crsae.sorting.signal.channels import find_bad_channels
from si_crsae.sorting.signal.preprocessing import filtered_share, preprocess, tell_lowered_band
from si_crsae.sorting.signal.recording import (
    select_channels,
    select_segments,
    select_training_windows,
    sortable_segments,
    split_groups,
    with_one_probe,
)
from si_crsae.sorting.signal.whitening import save_whitened
from si_crsae.sorting.stages import (
    CleanCode,
    CleanWeighedCode,
    Code,
    InitialTemplates,
    LearningResult,
    SpikePosterior,
    WeighedCode,
    explain_disk_errors,
    load_or_compute,
)
from si_crsae.sorting.threads import one_thread_per_tile

MIN_CHANNELS_FOR_THREADS = 8

# Numba's default threads and SpikeInterface's must not be entered by two runs of one process.
_one_run = threading.RLock()

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a run may use.

    Parameters
    ----------
    job_kwargs : dict
        SpikeInterface's, complete.
    num_threads : int
        Tiles worked on at once: ``n_jobs`` where the user gave it, else as many as torch would take for itself.
    show_bars : bool
        Show a bar for each stage: ``progress_bar`` of the job_kwargs, SpikeInterface's own bars are not shown.
    """

    job_kwargs: dict[str, Any]
    num_threads: int
    show_bars: bool

    @classmethod
    def of(cls, config: CrsaeConfig) -> "Resources":
        """Return the resources that the parameters grant.

        Threads unless the user asks for processes: traces are shared without copies, and scripts need no main guard.
        """
        is_cut = any(config.job_kwargs.get(name) is not None for name in CHUNK_LENGTHS)
        chunks = {} if is_cut else {"chunk_duration": "1s"}
        job_kwargs = fix_job_kwargs({"pool_engine": "thread", **chunks, **config.job_kwargs})
        show_bars, job_kwargs["progress_bar"] = bool(job_kwargs["progress_bar"]), False
        num_jobs = int(job_kwargs["n_jobs"] or 1)
        is_given = "n_jobs" in config.job_kwargs or num_jobs > 1
        num_threads = num_jobs if is_given else torch.get_num_threads()
        return cls(job_kwargs=job_kwargs, num_threads=num_threads, show_bars=show_bars)

    def filter_kwargs(self, recording: BaseRecording) -> dict[str, Any]:
        """Return SpikeInterface's job_kwargs where every chunk is filtered.

        Each chunk costs its threads some 4 ms, so that fewer channels are filtered faster without.
        """
        if recording.get_num_channels() < MIN_CHANNELS_FOR_THREADS:
            return self.job_kwargs
        return {**self.job_kwargs, "n_jobs": self.num_threads}


def run_pipeline(recording: BaseRecording, *, folder: Path, config: CrsaeConfig, verbose: bool) -> None:
    """Sort a recording; everything that it finds is left in a folder.

    Every group of channels (shank, tetrode) is sorted by itself. Stages that are complete in the folder are not
    computed again. In one process, one run waits for another.

    Parameters
    ----------
    recording : BaseRecording
        Raw; any number of segments, groups and channels.
    folder : Path
        The run's ``sorter_output``.
    config : CrsaeConfig
    verbose : bool
        If True, say what each stage has found. Its bar is shown where ``progress_bar`` of the job_kwargs says so.

    Raises
    ------
    ValueError
        If the recording cannot be sorted, or the folder is of a run with other parameters or another recording.
    OSError
        If a result cannot be saved.
    """
    resolve_device(config.device)  # a run may be resumed on another machine
    with _one_run, log_to(folder / "crsae.log", verbose=verbose):
        resources = Resources.of(config)
        begin(folder, config, recording)
        with one_thread_per_tile():
            _sort_groups(recording, folder=folder, config=config, resources=resources)
        with explain_disk_errors("the manifest"):
            mark_complete(folder)


def _sort_groups(recording: BaseRecording, *, folder: Path, config: CrsaeConfig, resources: Resources) -> None:
    """Run all stages of all groups and write the results."""
    tell_lowered_band(recording, config)
    segments = sortable_segments(recording, config)
    sortable = select_segments(recording, segments.tolist())
    groups = split_groups(sortable)
    results = [
        GroupSorting(
            group=with_one_probe(group),
            folder=folder / "stages" / f"group_{index}",
            config=config,
            resources=resources,
            progress=Progress(is_shown=resources.show_bars, group_index=index, num_groups=len(groups)),
        ).complete()
        for index, group in enumerate(groups)
    ]
    with explain_disk_errors("the results"), Progress(is_shown=resources.show_bars).stage("write"):
        sorting = write_results(
            sortable,
            results,
            segments=segments,
            folder=folder,
            config=config,
            job_kwargs=resources.filter_kwargs(sortable),
        )
    logger.info("found %d units with %d spikes", sorting.get_num_units(), sorting.count_total_num_spikes())


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
    """

    group: BaseRecording
    folder: Path
    config: CrsaeConfig
    resources: Resources
    progress: Progress = field(default_factory=Progress)

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
            return GroupResult(recording=self.group, learned=None, code=None)
        learned = self.learned
        if learned.model.dictionary.num_atoms == 0:
            return GroupResult(recording=self.recording, learned=learned, code=None)
        return GroupResult(
            recording=self.recording,
            learned=learned,
            code=self.cleaned,
            posterior=self.posterior,
            decisions_after=self._cleaning.decisions,
        )

    @cached_property
    def is_usable(self) -> Bool[np.ndarray, " channel"]:
        """Whether each channel of the group carries a signal of its own."""
        return find_bad_channels(self.group, self.config).usable_mask(self.group)

    @cached_property
    def recording(self) -> BaseRecording:
        """The usable channels, raw."""
        return select_channels(self.group, self.is_usable)

    @cached_property
    def whitened(self) -> BaseRecording:
        """The preprocessed signal, computed as it is read."""
        whitened = preprocess(self.recording, self.config, folder=self.folder)
        save_whitened(whitened, self.folder)
        return whitened

    @property
    def training(self) -> BaseRecording:
        """The part of the preprocessed signal to learn from, computed once and kept."""
        return self._cache.recording

    @cached_property
    def _cache(self) -> Cache:
        job_kwargs = self.resources.filter_kwargs(self.recording)
        with self.progress.stage("preprocess"):
            return cache(self._windows, self.config, folder=self.folder / "cache", job_kwargs=job_kwargs)

    @property
    def signal(self) -> BaseRecording:
        """All of the preprocessed signal, that to learn from where there is no more."""
        return self.training if self._windows is self.whitened else self.whitened

    @cached_property
    def _windows(self) -> BaseRecording:
        return select_training_windows(self.whitened, self.config.learning_duration_s, seed=self.config.seed)

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
    def _code_type(self) -> type[Code]:
        return WeighedCode if self.config.spike_probabilities else Code

    def _initialize(self) -> InitialTemplates:
        history, training = History(self.recording.channel_ids), self.training
        with self.progress.stage("initialize"):
            templates = find_templates(
                training, self.config, fit_window=True, job_kwargs=self.resources.job_kwargs, history=history
            )
        self._tell("found %d candidate units in %.0f s of signal", len(templates), training.get_total_duration())
        return InitialTemplates(templates=templates, decisions=history.table)

    def _learn(self) -> LearningResult:
        nothing = LearningResult.without_atoms(num_channels=self.recording.get_num_channels())
        history = History(self.recording.channel_ids, earlier=self.initial.decisions)
        if len(self.initial.templates) == 0:
            return replace(nothing, decisions=history.table)
        training = self.training
        with self.progress.stage("learn") as bar, listen(lambda _: bar.advance()):
            bar.expect(self.config.num_rounds)
            learner = Learner(
                training,
                self.initial.templates,
                self.initial.fitted(self.config, training.sampling_frequency),
                num_threads=self.resources.num_threads,
                job_kwargs=self.resources.job_kwargs,
                history=history,
            )
            model, curve = learner.learn(group_index=self.progress.group_index)
        if model is None:
            self._tell("learning kept none of them")
            return replace(nothing, decisions=history.table)
        self._tell("learned the waveforms of %d units", model.dictionary.num_atoms)
        return LearningResult(
            model=model, curve=curve, unit_numbers=np.array(learner.unit_numbers), decisions=history.table
        )

    def _encode(self) -> Code:
        """Return the events; they are weighed while they are found.

        The residual and the correlation map are at hand then, so that the signal is not read and filtered once more.
        """
        encoder = make_encoder(self.learned.model, self.config, sampling_frequency=self.recording.sampling_frequency)
        signal, num_threads = self.signal, self.resources.num_threads
        with self.progress.stage("encode") as bar:
            if self.config.spike_probabilities:
                code: Code = encode_and_weigh(signal, encoder, num_threads=num_threads, bar=bar)
            else:
                code = Code.of(encode_recording(signal, encoder, num_threads=num_threads, bar=bar))
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
            history=history,
        )
        whole = drop_parts(joined, dictionary, sampling_frequency=frequency, history=history)
        duration_s = recording.get_total_duration() * filtered_share(recording, self.config)
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
            return infer_posterior(CodeInContext.of(self.recording, code, self.learned.model, self.config))
