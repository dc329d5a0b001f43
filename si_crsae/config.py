"""Every parameter a user can set, declared once: name, type, range, unit, default and help."""

import difflib
import math
import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from si_crsae.periods import plain_periods

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]


def _map_solvers() -> tuple[str, ...]:
    """Return the names of the solvers that suit the sorter; takes as long as torch takes to load."""
    from si_crsae.core.priors import Sparse
    from si_crsae.core.solvers.by_name import solver_names
    from si_crsae.core.solvers.maps import MapProblem

    return solver_names(problem=MapProblem, prior=Sparse)


def _check_solver(name: str) -> str:
    names = _map_solvers()
    if name not in names:
        raise PydanticCustomError("solver", "Input should be one of {names}", {"names": ", ".join(names)})
    return name


def _check_device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise PydanticCustomError("device", "Input should be one of auto, cpu, cuda, or cuda:N for the GPU number N")
    return name


def _list_solvers(schema: dict[str, Any]) -> None:
    schema["enum"] = list(_map_solvers())


# SpikeInterface asks for the defaults as soon as it is imported: to validate this one it would have to wait for torch.
SolverName = Annotated[
    str, AfterValidator(_check_solver), Field(json_schema_extra=_list_solvers, validate_default=False)
]


class CrsaeConfig(BaseModel):
    """Parameters of the CRsAE sorter: times in ms or s, distances in um, frequencies in Hz."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
    )

    apply_preprocessing: bool = True
    """Filter, reference and whiten the recording; set to False if that is already done."""
    freq_min: Positive = 150.0
    """Low cut of the band-pass filter (Hz); raise to remove slow waves, lower to keep broad spikes whole."""
    freq_max: Positive = 7000.0
    """High cut of the band-pass filter (Hz), itself cut to 0.45 of the sampling frequency; lower to remove hiss."""
    common_reference: Literal["auto", "yes", "no"] = "auto"
    """Subtract the median of all channels; auto: from 128 channels on, where it does not follow single spikes."""
    whitening_radius_um: Positive = 100.0
    """Channels whitened together (um); raise for noise shared over long distances, lower to whiten faster."""
    apply_motion_correction: bool | Literal["auto"] = "auto"
    """Estimate the drift of the probe and follow it; auto: where the contacts show one that units would notice."""
    motion_correction_mode: Literal["templates", "traces"] = "templates"
    """What follows the drift; templates: they move along the probe, traces: interpolated between contacts, blurred."""
    motion_correction_preset: str = "dredge_fast"
    """Name of SpikeInterface's preset of motion correction."""
    excluded_periods: list[dict[str, Any]] = []
    """Times in which nothing is learned or found: pairs (start, end) in s, a list of them for each segment."""
    exclude_artifacts: Literal["auto", False] = "auto"
    """Exclude also what no neuron makes, far above any spike on most channels at once; False: sort it like the rest."""
    cache_preprocessing_mode: Literal["auto", "memory", "folder", "zarr", "no-cache"] = "auto"
    """Where the preprocessed recording is kept while sorting; auto: in memory if it fits, else in the folder."""
    peak_sign: Literal["neg", "pos", "both"] = "both"
    """Polarity of the spikes to look for; both: by their trough, or by their peak where that is clearly larger."""
    detect_threshold: Positive = 5.0
    """Height of a peak (noise standard deviations); raise to start from clear spikes, lower to find small units."""
    detection_radius_um: Positive = 50.0
    """Distance within which one peak counts once (um); raise for large spikes, lower for dense small ones."""
    template_radius_um: Positive = 120.0
    """Reach of a template around its main channel (um); raise to use far channels, lower to sort faster."""
    ms_before: Positive = 1.0
    """Least length of a template before its peak (ms), longer for slow spikes; raise for rare ones, lower for speed."""
    ms_after: Positive = 2.0
    """Length of a template after its peak (ms); raise for slow spikes, lower to sort faster."""
    learning_duration_s: Positive = 300.0
    """Signal to learn from, spread over the recording (s); raise for rare units, lower to learn faster."""
    num_rounds: Annotated[int, Field(ge=0, le=20)] = 3
    """Rounds of expectation-maximization; raise for a better dictionary, lower to learn faster."""
    learning: Literal["closed_form", "backpropagation"] = "closed_form"
    """How templates and regularization are learned; backpropagation: as published, slower and no more accurate."""
    rank: Annotated[int, Field(ge=1, le=64)] = 6
    """Temporal components of a template; raise for exact waveforms, lower to sort faster."""
    regularization_scale: Annotated[float, Field(ge=0.1)] = 4.0
    """First regularization (noise sd of the correlation map); raise for fewer events, lower to keep small ones."""
    learn_regularization: bool = True
    """Learn the regularization of every template from the data; if False, keep the first one."""
    merge_threshold: Positive = 4.0
    """Separation (d') below which two units are one; raise to merge more, lower to keep more units apart."""
    split_units: bool = True
    """Split units whose waveforms form two groups."""
    find_missed_units: bool = True
    """Look for new units in what the dictionary leaves unexplained."""
    min_firing_rate: NonNegative = 0.02
    """Slowest unit kept (Hz); raise to drop rare units, lower to keep them."""
    min_amplitude: Annotated[float, Field(gt=0, lt=1)] = 0.55
    """Smallest spike accepted (fraction of its template); raise for fewer false spikes, lower for fewer missed ones."""
    spike_probabilities: bool = False
    """Give every spike a probability and an amplitude interval, every unit expected rates of false and missed ones."""
    device: Annotated[str, AfterValidator(_check_device)] = "auto"
    """Where to compute: auto (a GPU if there is one), cpu, cuda or cuda:N."""
    solver: SolverName = "auto"
    """Solver of the sparse code; auto: descent on a CPU, parallel on a GPU, which find the same code."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    """Seed of every random choice: the same seed gives the same result."""
    save_array: bool = True
    """Keep templates, dictionary, code and learning curve beside the sorting."""
    job_kwargs: dict[str, Any] = {}
    """SpikeInterface's n_jobs, chunk_duration and the like; without n_jobs, as many threads as torch takes."""

    @field_validator("freq_max")
    @classmethod
    def _is_above_freq_min(cls, freq_max: float, info: ValidationInfo) -> float:
        freq_min = info.data.get("freq_min", 0.0)  # absent when it is itself refused
        if freq_max <= freq_min:
            raise PydanticCustomError(
                "band", "Input should be greater than freq_min = {freq_min}", {"freq_min": freq_min}
            )
        return freq_max

    @field_validator("excluded_periods", mode="before")
    @classmethod
    def _are_periods(cls, excluded_periods: Any) -> list[dict[str, Any]]:
        try:
            return plain_periods(excluded_periods)
        except ValueError as error:
            raise PydanticCustomError("periods", "{problem}", {"problem": str(error)}) from error

    @field_validator("job_kwargs")
    @classmethod
    def _is_known_to_spikeinterface(cls, job_kwargs: dict[str, Any]) -> dict[str, Any]:
        if not job_kwargs:
            return job_kwargs
        from spikeinterface.core.job_tools import fix_job_kwargs

        plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in job_kwargs.items()}
        fix_job_kwargs(plain)  # asserts, which pydantic reports with the other problems
        problems = list(job_problems(plain))
        assert not problems, "; ".join(problems)
        return plain

    @classmethod
    def sorter_defaults(cls) -> dict[str, Any]:
        """Return the default of every parameter, ready for JSON."""
        return cls().model_dump(mode="json")

    @classmethod
    def sorter_descriptions(cls) -> dict[str, str]:
        """Return the one-line description of every parameter."""
        return {name: field.description or "" for name, field in cls.model_fields.items()}


def job_problems(job_kwargs: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the values of SpikeInterface's job_kwargs, and what to write instead."""
    for name, (is_valid, wanted) in _VALID_JOB_VALUES.items():
        value = job_kwargs.get(name)
        if value is not None and not is_valid(value):
            yield f"{name} = {value!r}: write {wanted}"
    lengths = [name for name in CHUNK_LENGTHS if job_kwargs.get(name) is not None]
    if len(lengths) > 1:
        yield f"{' and '.join(lengths)} exclude each other: give one of them"


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number_of_jobs(value: Any) -> bool:
    return (_is_whole(value) and value != 0) or (isinstance(value, float) and 0 < value <= 1)


def _is_duration(value: Any) -> bool:
    if isinstance(value, float):
        return 0 < value < math.inf
    match = re.fullmatch(r"\s*([\d.]+(?:e-?\d+)?)\s*m?s", value) if isinstance(value, str) else None
    return match is not None and _is_positive_number(match[1])


def _is_memory(value: Any) -> bool:
    match = re.fullmatch(r"([\d.]+(?:e\d+)?)[kMGTP]i?", value) if isinstance(value, str) else None
    return match is not None and _is_positive_number(match[1])


def _is_positive_number(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


_MEMORY = _is_memory, "a size above zero, such as '500M' or '1Gi'"
# Allowed values of SpikeInterface's job_kwargs, and what to write; it finds out about others half-way, or never.
_VALID_JOB_VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "n_jobs": (_is_number_of_jobs, "a whole number, -1 for all cores, or a fraction of them up to 1.0"),
    "chunk_size": (lambda value: _is_whole(value) and value > 0, "a whole number of samples above zero, such as 30000"),
    "chunk_duration": (_is_duration, "a time above zero, such as '1s', '500ms' or 1.0 (s)"),
    "chunk_memory": _MEMORY,
    "total_memory": _MEMORY,
    "pool_engine": (lambda value: value in ("thread", "process"), "'thread' or 'process'"),
    "mp_context": (lambda value: value in ("fork", "spawn", "forkserver"), "'fork', 'spawn' or 'forkserver'"),
    "max_threads_per_worker": (lambda value: _is_whole(value) and value > 0, "a whole number above zero"),
    "progress_bar": (lambda value: isinstance(value, bool), "True or False"),
}
CHUNK_LENGTHS = ("chunk_size", "chunk_memory", "total_memory", "chunk_duration")
JOB_NAMES = tuple(_VALID_JOB_VALUES)


# Every parameter, by what it is about: what most users may want to change goes first.
PARAMETER_GROUPS: dict[str, tuple[str, ...]] = {
    "Basic": (
        "apply_preprocessing",
        "apply_motion_correction",
        "freq_min",
        "freq_max",
        "peak_sign",
        "detect_threshold",
        "min_firing_rate",
        "excluded_periods",
        "exclude_artifacts",
        "spike_probabilities",
        "device",
        "seed",
        "job_kwargs",
    ),
    "Advanced: the signal": (
        "common_reference",
        "whitening_radius_um",
        "motion_correction_mode",
        "motion_correction_preset",
        "cache_preprocessing_mode",
    ),
    "Advanced: templates": ("ms_before", "ms_after", "template_radius_um", "detection_radius_um", "rank"),
    "Advanced: learning": (
        "learning_duration_s",
        "num_rounds",
        "learning",
        "merge_threshold",
        "split_units",
        "find_missed_units",
    ),
    "Advanced: spikes": ("regularization_scale", "learn_regularization", "min_amplitude", "solver"),
    "Advanced: results": ("save_array",),
}


def validate_parameters(parameters: dict[str, Any]) -> CrsaeConfig:
    """Return the configuration that these parameters make; those left out take their default.

    Parameters
    ----------
    parameters : dict
        Values by name of parameter; numpy scalars count as numbers.

    Returns
    -------
    CrsaeConfig
        Frozen and complete.

    Raises
    ------
    ValueError
        Lists every unknown name and every refused value.
    """
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in parameters.items()}
    try:
        return CrsaeConfig(**plain)
    except ValidationError as error:
        problems = [_describe_problem(problem) for problem in error.errors()]
    raise ValueError("\n  ".join(["crsae cannot run with these parameters:", *problems]))


def _describe_problem(problem: Any) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden" and name in JOB_NAMES:
        return f"{name}: unknown parameter; write job_kwargs={{{name!r}: {problem['input']!r}}}"
    if problem["type"] != "extra_forbidden":
        message = problem["msg"].removeprefix("Assertion failed, ")
        return f"{name} = {problem['input']!r}: {message}"
    guesses = difflib.get_close_matches(name, CrsaeConfig.model_fields, n=1, cutoff=0.5)
    remedy = f"did you mean {guesses[0]}?" if guesses else "see CrsaeConfig for all names"
    return f"{name}: unknown parameter; {remedy}"
