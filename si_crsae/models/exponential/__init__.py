"""Auto-encoders for observations of the exponential family: counts and successes, in time and in images.

`autoencoder` has the model and its two ways to learn, `denoiser` its scikit-learn-like face. Two applications have
models of their own: `spike_counts` finds the rates behind the spike counts of a population, of which `trials` makes
windows, and `count_images` denoises photon counts with a network that `count_image_learning` trains.
"""

from si_crsae.models.exponential.autoencoder import (
    ExponentialAutoencoder,
    LikelihoodTraining,
    NetworkTraining,
    Unrolling,
    Windows,
)
from si_crsae.models.exponential.count_image_learning import CountImageLearning, learn_count_images
from si_crsae.models.exponential.count_images import CountImageDenoiser, CountImageNetwork, denoise_count_image
from si_crsae.models.exponential.denoiser import Denoiser, Fitting
from si_crsae.models.exponential.spike_counts import CountModel, DenoisedCounts, denoise_counts

__all__ = [
    "CountImageDenoiser",
    "CountImageLearning",
    "CountImageNetwork",
    "CountModel",
    "DenoisedCounts",
    "Denoiser",
    "ExponentialAutoencoder",
    "Fitting",
    "LikelihoodTraining",
    "NetworkTraining",
    "Unrolling",
    "Windows",
    "denoise_count_image",
    "denoise_counts",
    "learn_count_images",
]
