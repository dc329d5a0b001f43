"""What SpikeInterface asks of a sorter; the work itself is in `si_crsae.sorting.pipeline`."""

import importlib.metadata
import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
from spikeinterface.core import BaseRecording, BaseSorting, NumpySorting, load
from spikeinterface.sorters import BaseSorter

from si_crsae.config import CrsaeConfig, validate_parameters
from si_crsae.sorting.convert import with_all_segments


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
        """Tell whether a container should be given the GPU."""
        return params["device"] != "cpu"

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
        recording = cast(BaseRecording, cls.load_recording_from_folder(sorter_output_folder.parent))
        run_pipeline(recording, folder=sorter_output_folder, config=config, verbose=verbose)

    @classmethod
    def _get_result_from_folder(cls, sorter_output_folder: Path) -> BaseSorting:
        sorting = cast(BaseSorting, load(sorter_output_folder / "sorting"))
        attributes_file = sorter_output_folder.parent / "recording_attributes.json"
        num_segments = len(json.loads(attributes_file.read_text(encoding="utf8"))["num_samples"])
        if sorting.get_num_units() > 0 and sorting.get_num_segments() == num_segments:
            return sorting
        return _restore_what_saving_lost(sorting, sorter_output_folder / "sorting", num_segments)


def _restore_what_saving_lost(sorting: BaseSorting, folder: Path, num_segments: int) -> BaseSorting:
    """Give back segments without spikes and, where there is no unit, the types of ids and properties."""
    spikes = sorting.to_spike_vector()
    restored = NumpySorting(spikes, sorting.sampling_frequency, sorting.unit_ids.astype("int64"))
    restored = with_all_segments(restored, num_segments)
    for path in sorted((folder / "properties").glob("*.npy")):
        restored.set_property(path.stem, np.load(path))
    return restored


def _remove_untouched_folder(folder: Path) -> None:
    """Remove the folder of a refused run if it holds only what SpikeInterface has just written there."""
    just_written = {"spikeinterface_recording.json", "spikeinterface_recording.pickle", "recording_attributes.json"}
    sorter_output = folder / "sorter_output"
    if not sorter_output.is_dir() or any(sorter_output.iterdir()):
        return
    if {path.name for path in folder.iterdir()} <= just_written | {sorter_output.name}:
        shutil.rmtree(folder)
