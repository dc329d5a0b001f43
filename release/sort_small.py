"""Sort a small recording as a user would who has only installed the package: nothing here imports si_crsae."""

import argparse
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import spikeinterface.full as si

MIN_ACCURACY = 0.9


def main():
    """Sort, print the result, and fail where the units are not found or what ran was not what is installed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="an empty one, for the recording and the run")
    folder = parser.parse_args().folder
    warnings.filterwarnings("ignore", "The extractor is not serializable")  # of what is simulated
    simulated, truth = si.generate_ground_truth_recording(durations=[10.0], num_channels=4, num_units=3, seed=5)
    recording = simulated.save(folder=folder / "recording", progress_bar=False)
    start = time.perf_counter()
    sorting = si.run_sorter("crsae", recording, folder=folder / "run", job_kwargs={"progress_bar": False})
    took = time.perf_counter() - start
    accuracy = si.compare_sorter_to_ground_truth(truth, sorting).get_performance()["accuracy"].astype(float)
    ran_from = Path(sys.modules["si_crsae"].__file__).parent
    print(f"si_crsae {version('si_crsae')} in {ran_from}, found by SpikeInterface {si.__version__} without an import")
    print(f"{sorting.get_num_units()} units of {len(truth.unit_ids)} in {took:.0f} s, compilation included;", end=" ")
    print("accuracies " + ", ".join(f"{each:.3f}" for each in accuracy))
    if Path(sys.prefix).resolve() not in ran_from.resolve().parents:
        raise SystemExit(f"{ran_from} is not of the environment {sys.prefix}: something else than the wheel has run")
    if accuracy.min() < MIN_ACCURACY:
        raise SystemExit(f"an accuracy of {accuracy.min():.3f} is below {MIN_ACCURACY}")


if __name__ == "__main__":
    main()
