"""First templates: SpikeInterface's clusters of peaks, and their median waveforms."""

import logging
import warnings
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.decomposition import TruncatedSVD
from spikeinterface.core import BaseRecording, estimate_templates, get_channel_distances
from spikeinterface.core.base import minimum_spike_dtype
from spikeinterface.sortingcomponents.clustering.main import clustering_methods, find_clusters_from_peaks
from spikeinterface.sortingcomponents.peak_selection import select_peaks
from spikeinterface.sortingcomponents.tools import (
    extract_waveform_at_max_channel,
)
from torch import Tensor

from si_crsae.config import CrsaeConfig
from si_crsae.sorting.assumptions import ASSUMED, Assumptions
from si_crsae.sorting.convert import TemplateWindow, nearest_samples, with_num_before
from si_crsae.sorting.learning.history import History, Member, Reason
from si_crsae.sorting.learning.peaks import (
    NUM_PROTOTYPE_PEAKS,
    find_peaks,
    leave_out_ends,
    min_cluster_size,
    num_before_of,
    prototype_of,
)
from si_crsae.sorting.signal.caching import with_fixed_chunks

CLUSTERING = "iterative-hdbscan"
# How much is clustered, averaged and decomposed: more takes longer.
MAX_PEAKS_PER_CHANNEL = 5000
MAX_WAVEFORMS_PER_TEMPLATE = 200
# Between which a cluster's heights are compared, and where they lie in normal noise.
SIZE_QUANTILES = (0.05, 0.95)
NOISE_QUANTILE = 1.645

logger = logging.getLogger(__name__)


def find_templates(
    recording: BaseRecording,
    config: CrsaeConfig,
    *,
    faint: bool = False,
    fit_window: bool = False,
    job_kwargs: dict[str, Any],
    assumed: Assumptions = ASSUMED,
    history: History | None = None,
) -> Float[np.ndarray, "unit channel width"]:
    """Return the median waveforms of the clusters of a recording's peaks.

    Clusters are cut finely: what belongs together is merged once the templates have been used to encode.

    Parameters
    ----------
    recording : BaseRecording
        Whitened, unit noise.
    config : CrsaeConfig
    faint : bool, default: False
        If True, peaks come from a matched filter, whatever the length of the recording.
    fit_window : bool, default: False
        If True, templates begin earlier than `ms_before` where most peaks do: see `num_before_of`.
    job_kwargs : dict
        SpikeInterface's, complete.
    assumed : Assumptions, default: ASSUMED
    history : History, optional
        Told of every cluster.

    Returns
    -------
    ndarray of float32, shape (unit, channel, width)
        In noise standard deviations; zero on channels that are far from the cluster or show nothing. Possibly no unit.
    """
    job_kwargs = with_fixed_chunks(job_kwargs)
    history, smallest = history or History(), min_cluster_size(recording, assumed=assumed)
    peaks = find_peaks(recording, config, faint=faint, job_kwargs=job_kwargs, assumed=assumed)
    logger.info("%d peaks above %g noise standard deviations", peaks.size, config.detect_threshold)
    if peaks.size < smallest:
        return np.zeros((0, recording.get_num_channels(), TemplateWindow.of(recording, config).width), "float32")
    cluster_window = _cluster_window(recording, config, assumed=assumed)
    if fit_window:
        num_before = num_before_of(recording, peaks, config, job_kwargs=job_kwargs, assumed=assumed)
        config = with_num_before(config, num_before, recording.sampling_frequency)
    if peaks.size > MAX_PEAKS_PER_CHANNEL * recording.get_num_channels():
        num_peaks = MAX_PEAKS_PER_CHANNEL * recording.get_num_channels()
        peaks = np.asarray(select_peaks(peaks, method="uniform", n_peaks=num_peaks, seed=config.seed))
    labels = _cluster(recording, peaks, config, cluster_window, job_kwargs=job_kwargs, assumed=assumed)
    labels = cut_by_size(labels, np.abs(peaks["amplitude"]), max_ratio=1 / config.min_amplitude)
    labels = _without_small(labels, peaks, history, smallest=smallest)
    if not np.any(labels >= 0):
        return np.zeros((0, recording.get_num_channels(), TemplateWindow.of(recording, config).width), "float32")
    clustered = peaks[labels >= 0], labels[labels >= 0]
    templates = _median_waveforms(recording, *clustered, config, job_kwargs=job_kwargs)
    return _standing_out(templates, _members(*clustered), history, smallest=smallest, assumed=assumed)


def _cluster(
    recording: BaseRecording,
    peaks: np.ndarray,
    config: CrsaeConfig,
    window: dict[str, Any],
    *,
    job_kwargs: dict[str, Any],
    assumed: Assumptions,
) -> np.ndarray:
    """Return the label of every peak, -1 for none."""
    smallest = min_cluster_size(recording, assumed=assumed)
    parameters = deepcopy(clustering_methods[CLUSTERING]._default_params)
    parameters["seed"] = config.seed
    parameters["noise_levels"] = np.ones(recording.get_num_channels(), "float32")
    parameters["verbose"] = False
    # its standard deviation is not robust: a few wrong peaks would cost a unit of 50 noise deviations
    parameters["clean_templates"]["mean_sd_ratio_threshold"] = np.inf
    parameters["clean_templates"]["max_jitter_ms"] = assumed.initial.cluster_jitter_ms
    parameters["peaks_svd"] |= window
    parameters["peaks_svd"]["svd_model"] = _fit_svd(
        recording, peaks, parameters["peaks_svd"], config, num_needed=smallest, job_kwargs=job_kwargs
    )
    if parameters["peaks_svd"]["svd_model"] is None:
        return np.full(peaks.size, -1)
    parameters["merge_from_templates"] = None
    parameters["split"]["split_radius_um"] = assumed.initial.split_radius_um
    parameters["split"]["method_kwargs"]["n_pca_features"] = assumed.initial.num_split_features
    parameters["split"]["method_kwargs"]["clusterer"]["min_cluster_size"] = smallest
    with warnings.catch_warnings():
        # its own call, which a user cannot change
        warnings.filterwarnings("ignore", "get_template_peak_shift_on_main_channel", UserWarning)
        _, labels = find_clusters_from_peaks(
            recording, peaks, method=CLUSTERING, method_kwargs=parameters, job_kwargs=job_kwargs
        )
    return np.asarray(labels)


def _cluster_window(recording: BaseRecording, config: CrsaeConfig, *, assumed: Assumptions) -> dict[str, Any]:
    """Return where around its peak, and on how many components, a spike is clustered, as SpikeInterface is told."""
    frequency, initial = recording.sampling_frequency, assumed.initial
    durations_ms = np.array(initial.cluster_window) * (config.ms_before, config.ms_after)
    num_before, num_after = (max(nearest_samples(duration_ms, frequency), 1) for duration_ms in durations_ms)
    return {
        "ms_before": 1000 * num_before / frequency,
        "ms_after": 1000 * num_after / frequency,
        "n_components": min(initial.num_cluster_components, num_before + num_after),
    }


def _fit_svd(
    recording: BaseRecording,
    peaks: np.ndarray,
    parameters: dict[str, Any],
    config: CrsaeConfig,
    *,
    num_needed: int,
    job_kwargs: dict[str, Any],
) -> TruncatedSVD | None:
    """Return the components of the waveforms whose peak is their extremum, None if fewer than needed have it there.

    SpikeInterface fits them in the same way, but fails where there is none.
    """
    window = {name: parameters[name] for name in ("ms_before", "ms_after")}
    recording, peaks = leave_out_ends(recording, peaks, **window, seed=config.seed)
    margin = tuple(nearest_samples(duration_ms, recording.sampling_frequency) for duration_ms in window.values())
    few_peaks = select_peaks(
        peaks, recording=recording, method="uniform", n_peaks=NUM_PROTOTYPE_PEAKS, margin=margin, seed=config.seed
    )
    extracted = extract_waveform_at_max_channel(recording, few_peaks, **window, job_kwargs=job_kwargs)
    waveforms = np.asarray(extracted)[:, :, 0]
    aligned = waveforms[np.abs(waveforms).argmax(axis=1) == margin[0]]
    if len(aligned) < num_needed:
        return None
    return TruncatedSVD(n_components=parameters["n_components"], random_state=config.seed).fit(aligned)


def cut_by_size(
    labels: Int[np.ndarray, " peak"], heights: Float[np.ndarray, " peak"], *, max_ratio: float
) -> Int[np.ndarray, " peak"]:
    """Return the labels with every cluster cut where its peaks differ more in height than spikes of one template may.

    Spikes that shrink within bursts are one cluster, but too different in size for one atom.

    Parameters
    ----------
    labels : ndarray of int64, shape (peak,)
        -1 for none.
    heights : ndarray of float, shape (peak,)
        In noise standard deviations.
    max_ratio : float
        Largest ratio of a cluster's 0.95 and 0.05 quantiles, once noise is taken off.
    """
    cut, num_labels = labels.copy(), labels.max(initial=-1) + 1
    for label in range(num_labels):
        mine = np.flatnonzero(labels == label)
        if mine.size == 0:
            continue
        lowest, highest = np.maximum(np.quantile(heights[mine], SIZE_QUANTILES), 1.0)
        # Heights of one size lie within these quantiles of their noise, of standard deviation 1.
        if highest - NOISE_QUANTILE <= max_ratio * (lowest + NOISE_QUANTILE):
            continue
        low, high = np.log([lowest, highest])
        num_parts = int(np.ceil((high - low) / np.log(max_ratio)))
        edges = np.exp(np.linspace(low, high, num_parts + 1)[1:-1])
        part = np.digitize(heights[mine], edges)
        cut[mine] = np.where(part == 0, label, num_labels + part - 1)
        num_labels += num_parts - 1
    return cut


def _members(peaks: np.ndarray, labels: Int[np.ndarray, " peak"]) -> list[Member]:
    """Return the clusters in the order of their labels."""
    channels = [peaks["channel_index"][labels == label] for label in np.unique(labels)]
    return [Member(main_channel=int(np.bincount(mine).argmax()), num_events=mine.size) for mine in channels]


def _without_small(
    labels: Int[np.ndarray, " peak"], peaks: np.ndarray, history: History, *, smallest: int
) -> Int[np.ndarray, " peak"]:
    """Return the labels, -1 for small clusters: channels with few peaks come back as a cluster of whatever size."""
    sizes = np.bincount(labels[labels >= 0], minlength=1)
    is_small = (labels >= 0) & (sizes[labels] < smallest)
    for cluster in _members(peaks[is_small], labels[is_small]):
        history.note("refused", cluster, Reason("num_peaks", cluster.num_events, smallest))
    return np.where(is_small, -1, labels)


def _standing_out(
    templates: Float[np.ndarray, "unit channel width"],
    clusters: list[Member],
    history: History,
    *,
    smallest: int,
    assumed: Assumptions,
) -> Float[np.ndarray, "unit channel width"]:
    """Return the templates that show something, zero on channels where they do not."""
    heights, lowest = np.abs(templates).max(axis=2), assumed.initial.min_channel_peak
    is_shown = (heights >= lowest).any(axis=1)
    for cluster, height, shows in zip(clusters, heights.max(axis=1), is_shown, strict=True):
        if shows:
            history.find(cluster, Reason("num_peaks", cluster.num_events, smallest))
        else:
            history.note("refused", cluster, Reason("peak_to_noise", height, lowest))
    return np.where((heights < lowest)[:, :, None], np.float32(0), templates)[is_shown]


def _median_waveforms(
    recording: BaseRecording,
    peaks: np.ndarray,
    labels: np.ndarray,
    config: CrsaeConfig,
    *,
    job_kwargs: dict[str, Any],
) -> Float[np.ndarray, "unit channel width"]:
    window = TemplateWindow.of(recording, config)
    num_channels = recording.get_num_channels()
    unit_ids, unit_index = np.unique(labels, return_inverse=True)
    near = get_channel_distances(recording) <= config.template_radius_um
    spikes = np.zeros(peaks.size, minimum_spike_dtype)
    spikes["sample_index"], spikes["segment_index"] = peaks["sample_index"], peaks["segment_index"]
    spikes["unit_index"] = unit_index
    kept = np.zeros(peaks.size, bool)
    reach = np.zeros((unit_ids.size, num_channels), bool)
    for unit in range(unit_ids.size):
        members = np.flatnonzero(unit_index == unit)
        chosen = np.linspace(0, members.size - 1, min(members.size, MAX_WAVEFORMS_PER_TEMPLATE)).astype(int)
        kept[members[chosen]] = True
        main_channel = np.bincount(peaks["channel_index"][members], minlength=num_channels).argmax()
        reach[unit] = near[main_channel]
    packed = estimate_templates(
        recording,
        spikes[kept],
        unit_ids,
        window.num_before,
        window.width - window.num_before,
        operator="median",
        return_in_uV=False,
        sparsity_mask=reach,
        **job_kwargs,
    )
    templates = np.zeros((unit_ids.size, num_channels, window.width), "float32")
    for unit, channels in enumerate(reach):
        templates[unit, channels] = packed[unit, :, : channels.sum()].T
    return templates


def temporal_basis(
    recording: BaseRecording,
    templates: Float[np.ndarray, "unit channel width"],
    config: CrsaeConfig,
    *,
    job_kwargs: dict[str, Any],
    assumed: Assumptions = ASSUMED,
) -> Float[Tensor, "component width"]:
    """Return the orthonormal temporal components that explain most of the templates and of single peaks, by SVD.

    Templates alone would span too little where they are few: no other shape could be learned from them.
    """
    job_kwargs = with_fixed_chunks(job_kwargs)
    peaks = find_peaks(recording, config, job_kwargs=job_kwargs, assumed=assumed)
    _, waveforms = prototype_of(recording, peaks, config, job_kwargs=job_kwargs)
    means = templates.reshape(-1, templates.shape[2])
    norms = np.linalg.norm(means), max(np.linalg.norm(waveforms), 1e-12)
    weight = assumed.initial.single_peak_weight * norms[0] / norms[1]
    rows = np.concatenate([means, waveforms * weight]).astype("float32")
    _, _, components = torch.linalg.svd(torch.from_numpy(rows), full_matrices=False)
    return components[: config.rank].contiguous()
