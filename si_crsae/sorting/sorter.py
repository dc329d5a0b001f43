"""What SpikeInterface asks of a sorter; the work itself is in `si_crsae.sorting.pipeline`."""

import importlib.metadata
import importlib.util
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from spikeinterface.core import BaseRecording, BaseSorting, NumpySorting
from spikeinterface.sorters import BaseSorter

from si_crsae.config import CrsaeConfig, validate_parameters
from si_crsae.sorting.convert import with_all_segments
from si_crsae.sorting.runs.lock import check_unlocked, locked
from si_crsae.sorting.runs.manifest import verify
from si_crsae.sorting.runs.trust import (
    DESCRIPTIONS,
    load_recording_described,
    load_sorting_folder,
    read_json,
    remember_descriptions,
)

LOG_FILE = "spikeinterface_log.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """What the caller says about the recording of a run: SpikeInterface's hooks have no argument for it."""

    folder: Path
    recording: BaseRecording | None
    trust: bool


_given: ContextVar[_Given | None] = ContextVar("recording of a run", default=None)


@contextmanager
def with_recording(folder: Path, recording: BaseRecording | None, *, trust: bool) -> Iterator[None]:
    """Take this recording for that of a run, or, if None and trusted, whatever its folder describes."""
    token = _given.set(_Given(folder=folder.absolute(), recording=recording, trust=trust))
    try:
        yield
    finally:
        _given.reset(token)


class CrsaeSorter(BaseSorter):
    """Sort spikes by convolutional sparse coding, with templates and sparsity learned from the recording."""

    sorter_name = "crsae"
    requires_locations = False
    gpu_capability = "nvidia-optional"
    handle_multi_segment = True
    # Not in threads: numba's default threading layer must not be entered from several at once.
    compatible_with_parallel = {"loky": True, "multiprocessing": True, "threading": False}

    _default_params = CrsaeConfig.sorter_defaults()
    _params_description = CrsaeConfig.sorter_descriptions()

    sorter_description = (
        "CRsAE explains the whitened traces as a sum of templates times sparse spike trains plus noise, and learns "
        "templates, spike trains and the level of sparsity from the recording, by expectation-maximization. "
        "Overlapping spikes are part of the model. Runs on a CPU or a GPU.\n"
        "Reference: Tolooshams, Dey and Ba, 'Deep residual autoencoders for expectation maximization-inspired "
        "dictionary learning', IEEE TNNLS, 2021, doi 10.1109/TNNLS.2020.3005348."
    )
    installation_mesg = "\tpip install si_crsae"

    @classmethod
    def is_installed(cls) -> bool:
        """Tell whether everything the sorter needs can be imported, without importing it."""
        return all(importlib.util.find_spec(name) for name in ("torch", "numba", "scipy", "sklearn"))

    @classmethod
    def get_sorter_version(cls) -> str:
        """Return the version of si_crsae."""
        return importlib.metadata.version("si_crsae")

    @classmethod
    def use_gpu(cls, params: dict[str, Any]) -> bool:
        """Tell whether a container should be given the GPU; it asks with what the caller has set, without defaults."""
        return params.get("device", CrsaeConfig().device) != "cpu"

    @classmethod
    def initialize_folder(
        cls, recording: BaseRecording, output_folder: Any, verbose: bool, remove_existing_folder: bool
    ) -> Path:
        """Make the folder of a run and note there what is sorted; one that is in use is not removed."""
        if output_folder is not None and remove_existing_folder:
            check_unlocked(Path(output_folder).absolute())
        folder = super().initialize_folder(recording, output_folder, verbose, remove_existing_folder)
        remember_descriptions(folder)
        return folder

    @classmethod
    def set_params_to_folder(
        cls, recording: BaseRecording, output_folder: str | Path, new_params: dict[str, Any], verbose: bool
    ) -> dict[str, Any]:
        """Check the parameters and save them; a refused run leaves no folder behind."""
        try:
            validate_parameters(new_params)  # guesses a mistyped name, which SpikeInterface's own check does not
            return super().set_params_to_folder(recording, output_folder, new_params, verbose)
        except Exception:
            _remove_untouched_folder(Path(output_folder))
            raise

    @classmethod
    def _check_params(cls, recording: BaseRecording, output_folder: Path, params: dict[str, Any]) -> dict[str, Any]:
        from si_crsae.sorting.checks import check_recording

        config = validate_parameters(params)
        check_recording(recording, config, folder=output_folder)
        return config.model_dump(mode="json")

    @classmethod
    def _check_apply_filter_in_params(cls, params: dict[str, Any]) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        return params["apply_preprocessing"]

    @classmethod
    def _setup_recording(
        cls, recording: BaseRecording, sorter_output_folder: Path, params: dict[str, Any], verbose: bool
    ) -> None:
        """Do nothing: the pipeline reads the recording where it is."""

    @classmethod
    def _run_from_folder(cls, sorter_output_folder: Path, params: dict[str, Any], verbose: bool) -> None:
        from si_crsae.sorting.pipeline import run_pipeline

        config = validate_parameters(params)
        recording = cls.load_recording_from_folder(sorter_output_folder.parent)
        run_pipeline(recording, folder=sorter_output_folder, config=config, verbose=verbose)

    @classmethod
    def run_from_folder(cls, output_folder: str | Path, raise_error: bool, verbose: bool) -> float | None:
        """Sort what the folder of a run tells, unless somebody else does."""
        with locked(Path(output_folder)):
            return cls.run_in_locked_folder(Path(output_folder), raise_error=raise_error, verbose=verbose)

    @classmethod
    def run_in_locked_folder(cls, folder: Path, *, raise_error: bool, verbose: bool) -> float | None:
        """Sort what the folder of a run tells; for those who hold its lock."""
        return super().run_from_folder(folder, raise_error, verbose)

    @classmethod
    def load_recording_from_folder(cls, output_folder: str | Path, with_warnings: bool = False) -> BaseRecording:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return what is or was sorted: what `with_recording` has given, or what the folder describes.

        Raises
        ------
        UntrustedError
            If reading the description might run what somebody has written there.
        """
        folder = Path(output_folder).absolute()
        given = _given.get()
        trust = given is not None and given.folder == folder and given.trust
        if given is not None and given.folder == folder and given.recording is not None:
            return given.recording
        json_file, pickle_file = (folder / name for name in DESCRIPTIONS)
        path = json_file if json_file.is_file() else pickle_file
        return load_recording_described(path, base_folder=folder, trust=trust)

    @classmethod
    def get_result_from_folder(
        cls, output_folder: str | Path, register_recording: bool = True, sorting_info: bool = True
    ) -> BaseSorting:
        """Return the sorting of a run, with its recording if that is where it was; else a warning tells."""
        folder = Path(output_folder)
        if (folder / LOG_FILE).is_file():
            read_json(folder / LOG_FILE)  # tells what to do if it is damaged
        sorting = super().get_result_from_folder(folder, register_recording=False, sorting_info=sorting_info)
        if register_recording:
            try:
                sorting.register_recording(cls.load_recording_from_folder(folder))
            except Exception as error:  # what a missing file raises depends on its format
                warnings.warn(
                    f"the recording of {folder} cannot be read from where it was, the sorting is without it; "
                    f"sorting.register_recording(recording) adds it ({error})",
                    stacklevel=2,
                )
        return sorting

    @classmethod
    def _get_result_from_folder(cls, sorter_output_folder: Path) -> BaseSorting:
        verify(sorter_output_folder / "sorting")
        sorting = load_sorting_folder(sorter_output_folder / "sorting")
        num_segments = len(read_json(sorter_output_folder.parent / "recording_attributes.json")["num_samples"])
        if sorting.get_num_units() > 0 and sorting.get_num_segments() == num_segments:
            return sorting
        return _restore_what_saving_lost(sorting, sorter_output_folder / "sorting", num_segments)


def _restore_what_saving_lost(sorting: BaseSorting, folder: Path, num_segments: int) -> BaseSorting:
    """Give back segments without spikes and, where there is no unit, the types of ids and properties."""
    spikes = sorting.to_spike_vector()
    restored = NumpySorting(spikes, sorting.sampling_frequency, sorting.unit_ids.astype("int64"))
    restored = with_all_segments(restored, num_segments)
    for path in sorted((folder / "properties").glob("*.npy")):
        restored.set_property(path.stem, np.load(path, allow_pickle=False))
    return restored


def _remove_untouched_folder(folder: Path) -> None:
    """Remove the folder of a refused run if it holds only what SpikeInterface has just written there."""
    just_written = {*DESCRIPTIONS, "recording_attributes.json"}
    sorter_output = folder / "sorter_output"
    if not sorter_output.is_dir() or any(sorter_output.iterdir()):
        return
    if {path.name for path in folder.iterdir()} <= just_written | {sorter_output.name}:
        shutil.rmtree(folder)
