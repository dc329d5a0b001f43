"""Sort, or go on with a sorting, in a process that can be killed.

Usage: ``run_and_resume.py run RECORDING FOLDER [CACHE_MODE]`` or ``run_and_resume.py resume FOLDER RESULT``.
"""

import sys

import fast_start  # noqa: F401
import spikeinterface as si
import spikeinterface.sorters as ss


def run(recording_folder, folder, cache_mode=None):
    parameters = {} if cache_mode is None else {"cache_preprocessing_mode": cache_mode}
    ss.run_sorter("crsae", si.load(recording_folder), folder=folder, **parameters)


def resume(folder, result):
    import si_crsae

    si_crsae.resume_sorter(folder).save(folder=result)


if __name__ == "__main__":
    {"run": run, "resume": resume}[sys.argv[1]](*sys.argv[2:])
