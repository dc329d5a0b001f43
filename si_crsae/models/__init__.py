"""Auto-encoders built from the core, as torch modules, and how they are trained."""

from si_crsae.models.crsae import Crsae
from si_crsae.models.crsae_training import Backpropagation, ExpectationMaximization, RatePrior
from si_crsae.models.events import EventMaximization, WindowEvents, find_events, make_event_encoder
from si_crsae.models.initialization import initialize_atoms
from si_crsae.models.lcsc import Lcsc, ReconstructionTraining
from si_crsae.models.training import (
    RangeTest,
    Trainer,
    TrainingHistory,
    choose_batch_size,
    flip_and_rotate,
    learning_rate_range_test,
    train,
)

__all__ = [
    "Backpropagation",
    "Crsae",
    "EventMaximization",
    "ExpectationMaximization",
    "Lcsc",
    "RangeTest",
    "RatePrior",
    "ReconstructionTraining",
    "Trainer",
    "TrainingHistory",
    "WindowEvents",
    "choose_batch_size",
    "find_events",
    "flip_and_rotate",
    "initialize_atoms",
    "learning_rate_range_test",
    "make_event_encoder",
    "train",
]
