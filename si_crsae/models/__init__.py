"""Auto-encoders built from the core, as torch modules, and how they are trained."""

from si_crsae.models.crsae.autoencoder import Crsae
from si_crsae.models.crsae.events import EventMaximization, WindowEvents, find_events, make_event_encoder
from si_crsae.models.crsae.initialization import initialize_atoms
from si_crsae.models.crsae.lcsc import Lcsc, ReconstructionTraining
from si_crsae.models.crsae.learning import Backpropagation, ExpectationMaximization, RatePrior
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
from si_crsae.models.linked.dictionaries import LinkedDictionaries
from si_crsae.models.linked.model import HebbianTraining, LinkedFitting, LinkedModel, ViewLayout
from si_crsae.models.linked.ordinal import block_purity, class_blocks, strongest_block
from si_crsae.models.linked.views import View
from si_crsae.models.training import (
    EpochReport,
    RangeTest,
    Trainer,
    TrainingHistory,
    choose_batch_size,
    flip_and_rotate,
    learning_rate_range_test,
    train,
)
from si_crsae.models.variational.coder import EncodedWindows, VariationalSparseCoder
from si_crsae.models.variational.model import Objective, VariationalFitting, VariationalModel, VariationalTraining
from si_crsae.models.variational.networks import PerceptronEncoder, UnrolledEncoder
from si_crsae.models.variational.statistics import CodeStatistics, describe_codes

__all__ = [
    "CodeStatistics",
    "describe_codes",
    "PerceptronEncoder",
    "UnrolledEncoder",
    "Objective",
    "VariationalFitting",
    "VariationalModel",
    "VariationalTraining",
    "EncodedWindows",
    "VariationalSparseCoder",
    "Backpropagation",
    "CountImageDenoiser",
    "CountImageLearning",
    "CountImageNetwork",
    "CountModel",
    "Crsae",
    "DenoisedCounts",
    "Denoiser",
    "EpochReport",
    "EventMaximization",
    "ExpectationMaximization",
    "ExponentialAutoencoder",
    "Fitting",
    "HebbianTraining",
    "Lcsc",
    "LikelihoodTraining",
    "LinkedDictionaries",
    "LinkedFitting",
    "LinkedModel",
    "NetworkTraining",
    "RangeTest",
    "RatePrior",
    "ReconstructionTraining",
    "Trainer",
    "TrainingHistory",
    "Unrolling",
    "View",
    "ViewLayout",
    "WindowEvents",
    "Windows",
    "block_purity",
    "choose_batch_size",
    "class_blocks",
    "denoise_count_image",
    "denoise_counts",
    "find_events",
    "flip_and_rotate",
    "initialize_atoms",
    "learn_count_images",
    "learning_rate_range_test",
    "make_event_encoder",
    "strongest_block",
    "train",
]
