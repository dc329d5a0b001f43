"""The sorter's stages: check, preprocess, initialize, learn, encode, clean, posterior if asked for, write."""

import functools
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from spikeinterface.core import BaseRecording
from spikeinterface.core.job_tools import fix_job_kwargs

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.checks import find_bad_channels, resolve_device
from si_crsae.sorting.cleaning import clean_code, join_fragments
from si_crsae.sorting.encoding import encode_recording
from si_crsae.sorting.inventory import GroupResult
from si_crsae.sorting.learning.initialization import find_templates
from si_crsae.sorting.learning.learner import Learner
from si_crsae.sorting.model import Model, make_encoder, make_settings
from si_crsae.sorting.preprocessing import cache, drop_cache, preprocess
from si_crsae.sorting.probabilities.evidence import encode_and_weigh
from si_crsae.sorting.probabilities.features import Observed
from si_crsae.sorting.probabilities.posterior import infer_posterior
from si_crsae.sorting.recording import (
    one_thread_per_tile,
    select_training_windows,
    sortable_segments,
    split_groups,
    with_one_probe,
)
from si_crsae.sorting.results import write_results
from si_crsae.sorting.stages import (
    AnyCode,
    Code,
    InitialTemplates,
    LearnedModel,
    SpikePosterior,
    WeighedCode,
    explain_disk_errors,
    load_or_compute,
)
from si_crsae.sorting.texts import ScreenHandler, log_file_handler
from si_crsae.sorting.whitening import save_whitened

MIN_CHANNELS_FOR_THREADS = 8

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
    verbose : bool
        Show progress bars.
    """

    job_kwargs: dict[str, Any]
    num_threads: int
    verbose: bool

    @classmethod
    def of(cls, config: CrsaeConfig, *, verbose: bool) -> "Resources":
        """Return the resources that the parameters grant.

        Threads unless the user asks for processes: traces are shared without copies, and scripts need no main guard.
        """
        job_kwargs = fix_job_kwargs({"pool_engine": "thread", "chunk_duration": "1s", **config.job_kwargs})
        job_kwargs["progress_bar"] = verbose
        num_jobs = int(job_kwargs["n_jobs"] or 1)
        is_given = "n_jobs" in config.job_kwargs or num_jobs > 1
        num_threads = num_jobs if is_given else torch.get_num_threads()
        return cls(job_kwargs=job_kwargs, num_threads=num_threads, verbose=verbose)

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
    computed again.

    Parameters
    ----------
    recording : BaseRecording
        Raw; any number of segments, groups and channels.
    folder : Path
        The run's ``sorter_output``.
    config : CrsaeConfig
    verbose : bool
        If True, show progress bars and a line per stage.

    Raises
    ------
    ValueError
        If the recording cannot be sorted.
    OSError
        If a result cannot be saved.
    """
    resolve_device(config.device)  # a run may be resumed on another machine
    resources = Resources.of(config, verbose=verbose)
    with _log_to(folder / "crsae.log", verbose=verbose), one_thread_per_tile():
        segments = sortable_segments(recording, config)
        sortable = cast(BaseRecording, recording.select_segments(segments.tolist()))
        results = [
            sort_group(
                with_one_probe(group),
                folder=folder / "stages" / f"group_{index}",
                config=config,
                resources=resources,
                group_index=index,
            )
            for index, group in enumerate(split_groups(sortable))
        ]
        with explain_disk_errors("the results"):
            sorting = write_results(
                sortable,
                results,
                segments=segments,
                folder=folder,
                config=config,
                job_kwargs=resources.filter_kwargs(sortable),
            )
        logger.info("%d units, %d spikes", sorting.get_num_units(), sorting.count_total_num_spikes())


def sort_group(
    recording: BaseRecording, *, folder: Path, config: CrsaeConfig, resources: Resources, group_index: int = 0
) -> GroupResult:
    """Return the model and the spikes of one group of channels."""
    bad_channels = find_bad_channels(recording, seed=config.seed)
    usable = bad_channels.usable_mask(recording)
    if not usable.any():
        return GroupResult(recording=recording, learned=None, code=None)
    recording = recording.select_channels(recording.channel_ids[usable])
    signals = functools.cache(functools.partial(_signals, recording, folder, config, resources))
    learned = load_or_compute(
        folder / "learn.npz", LearnedModel, lambda: _learn(signals().training, folder, config, resources, group_index)
    )
    if learned.scales.size == 0:
        code, posterior = None, None
    elif config.spike_probabilities:
        code, posterior = _code_with_posterior(recording, signals, learned, folder, config, resources)
    else:
        encoded = load_or_compute(
            folder / "encode.npz", Code, lambda: _encode(signals().complete, learned, config, resources)
        )
        code = load_or_compute(folder / "clean.npz", Code, lambda: _clean(recording, encoded, learned, config))
        posterior = None
    drop_cache(folder / "cache")
    return GroupResult(recording=recording, learned=learned, code=code, posterior=posterior)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signals:
    training: BaseRecording
    complete: BaseRecording


def _signals(recording: BaseRecording, folder: Path, config: CrsaeConfig, resources: Resources) -> _Signals:
    """Return the preprocessed signal to learn from, computed once and kept, and all of it, computed as it is read."""
    filter_kwargs = resources.filter_kwargs(recording)
    whitened = preprocess(recording, config, folder=folder, job_kwargs=filter_kwargs)
    save_whitened(whitened, folder)
    training = select_training_windows(whitened, config.learning_duration_s)
    cached = cache(training, config, folder=folder / "cache", job_kwargs=filter_kwargs)
    return _Signals(training=cached, complete=cached if training is whitened else whitened)


def _learn(
    training: BaseRecording, folder: Path, config: CrsaeConfig, resources: Resources, group_index: int
) -> LearnedModel:
    initial = load_or_compute(
        folder / "initialize.npz",
        InitialTemplates,
        lambda: InitialTemplates(templates=find_templates(training, config, job_kwargs=resources.job_kwargs)),
    )
    if len(initial.templates) == 0:
        return LearnedModel.without_atoms(num_channels=training.get_num_channels())
    learner = Learner(
        training, initial.templates, config, num_threads=resources.num_threads, job_kwargs=resources.job_kwargs
    )
    model, curve = learner.learn(progress=resources.verbose, group_index=group_index)
    if model is None:
        return LearnedModel.without_atoms(num_channels=training.get_num_channels())
    return LearnedModel.of(model, curve)


def _encode(recording: BaseRecording, learned: LearnedModel, config: CrsaeConfig, resources: Resources) -> Code:
    encoder = make_encoder(learned.model, config, sampling_frequency=recording.sampling_frequency)
    segments = encode_recording(
        recording,
        encoder,
        num_threads=resources.num_threads,
        progress=resources.verbose,
    )
    return Code.of(segments)


def _encode_and_weigh(
    recording: BaseRecording, learned: LearnedModel, config: CrsaeConfig, resources: Resources
) -> WeighedCode:
    encoder = make_encoder(learned.model, config, sampling_frequency=recording.sampling_frequency)
    return encode_and_weigh(recording, encoder, num_threads=resources.num_threads, progress=resources.verbose)


def _code_with_posterior(
    recording: BaseRecording,
    signals: Callable[[], "_Signals"],
    learned: LearnedModel,
    folder: Path,
    config: CrsaeConfig,
    resources: Resources,
) -> tuple[WeighedCode, SpikePosterior]:
    """Return the clean code and the posterior of its spikes: events are weighed while they are found.

    The residual and the correlation map are at hand then, so that the signal is not read and filtered once more.
    """
    encoded = load_or_compute(
        folder / "encode.npz", WeighedCode, lambda: _encode_and_weigh(signals().complete, learned, config, resources)
    )
    code = load_or_compute(folder / "clean.npz", WeighedCode, lambda: _clean(recording, encoded, learned, config))
    observed = observe_code(recording, code, learned.model, config)
    return code, load_or_compute(folder / "posterior.npz", SpikePosterior, lambda: infer_posterior(observed))


def observe_code(recording: BaseRecording, code: WeighedCode, model: Model, config: CrsaeConfig) -> Observed:
    """Return a code of a recording as `infer_posterior` takes it."""
    return Observed(
        code=code,
        model=model,
        min_amplitude=make_settings(model, config, sampling_frequency=recording.sampling_frequency).min_amplitude,
        sampling_frequency=recording.sampling_frequency,
        num_samples=recording.get_total_samples(),
    )


def _clean(recording: BaseRecording, code: AnyCode, learned: LearnedModel, config: CrsaeConfig) -> AnyCode:
    num_samples = [recording.get_num_samples(segment) for segment in range(recording.get_num_segments())]
    joined = join_fragments(
        code, learned.model.dictionary, sampling_frequency=recording.sampling_frequency, num_samples=num_samples
    )
    return clean_code(
        joined, config, sampling_frequency=recording.sampling_frequency, duration_s=recording.get_total_duration()
    )


@contextmanager
def _log_to(path: Path, *, verbose: bool) -> Iterator[None]:
    """Write what the package logs to a file, and to the screen if verbose."""
    package_logger = logging.getLogger("si_crsae")
    handlers: list[logging.Handler] = [log_file_handler(path)]
    if verbose:
        handlers.append(ScreenHandler(sys.stdout))
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
        package_logger.addHandler(handler)
    level = package_logger.level
    package_logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        package_logger.setLevel(level)
        for handler in handlers:
            package_logger.removeHandler(handler)
            handler.close()
