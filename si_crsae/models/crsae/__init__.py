"""CRsAE, the auto-encoder of the paper: the model, its learning, the spikes that it finds, and the same for images.

`autoencoder` has the model and `initialization` its first atoms. `learning` trains it by the back-propagation of the
paper or in closed form; `events` makes spikes of its code and atoms of its spikes. `image_learning` learns atoms from
noisy images, with which `images` denoises them. `lcsc` is the untied auto-encoder that the paper compares with.
"""

from si_crsae.models.crsae.autoencoder import Crsae
from si_crsae.models.crsae.events import EventMaximization, WindowEvents, find_events, make_event_encoder
from si_crsae.models.crsae.image_learning import ImageLearning, ImageTrainer, learn_image_atoms
from si_crsae.models.crsae.images import denoise_image, smooth_part
from si_crsae.models.crsae.initialization import initialize_atoms
from si_crsae.models.crsae.lcsc import Lcsc, ReconstructionTraining
from si_crsae.models.crsae.learning import Backpropagation, ExpectationMaximization, RatePrior

__all__ = [
    "Backpropagation",
    "Crsae",
    "EventMaximization",
    "ExpectationMaximization",
    "ImageLearning",
    "ImageTrainer",
    "Lcsc",
    "RatePrior",
    "ReconstructionTraining",
    "WindowEvents",
    "denoise_image",
    "find_events",
    "initialize_atoms",
    "learn_image_atoms",
    "make_event_encoder",
    "smooth_part",
]
