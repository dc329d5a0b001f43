"""Whatever a user hands to a model, it is taken for what it plainly means or refused by the name of its argument."""

import re
import traceback
import warnings
from functools import cache, partial

import jaxtyping
import numpy as np
import pytest
import torch

from si_crsae.core import Poisson, Sparse, correlate, fista_solve, lipschitz_bound, synthesize
from si_crsae.models import (
    Backpropagation,
    CountImageDenoiser,
    CountImageLearning,
    CountImageNetwork,
    CountModel,
    Crsae,
    Denoiser,
    EventMaximization,
    ExpectationMaximization,
    ExponentialAutoencoder,
    Fitting,
    Lcsc,
    LinkedDictionaries,
    LinkedFitting,
    Objective,
    RatePrior,
    ReconstructionTraining,
    Unrolling,
    VariationalFitting,
    VariationalSparseCoder,
    View,
    block_purity,
    class_blocks,
    denoise_count_image,
    denoise_counts,
    find_events,
    initialize_atoms,
    learn_count_images,
    learning_rate_range_test,
    make_event_encoder,
    train,
)
from si_crsae.models.crsae import ImageLearning, denoise_image, learn_image_atoms, smooth_part

RNG = np.random.default_rng(0)


def draw(*shape):
    return torch.from_numpy(RNG.standard_normal(shape).astype("float32"))


def draw_counts(*shape):
    return torch.from_numpy(RNG.poisson(3.0, shape).astype("float32"))


ATOMS, WINDOWS, OTHER_VIEW = draw(2, 3, 4), 3 * draw(6, 3, 16), draw(6, 2, 16)
COUNTS, UNITS, PHOTONS, IMAGE = draw_counts(6, 2, 16), draw_counts(2, 4, 12), draw_counts(16, 16), 10 * draw(12, 12)
PRIOR = RatePrior(shape=1.0, rate=1.0)
SHORT_UNROLLING = Unrolling(num_iterations=3)
IMAGE_LEARNING = ImageLearning(
    num_atoms=2, width=3, num_iterations=2, patch_size=8, num_patches=2, num_epochs=1, batch_size=2
)
COUNT_NETWORK = CountImageNetwork(num_atoms=2, width=3, stride=2, num_iterations=1, num_levels=1)
COUNT_LEARNING = CountImageLearning(num_steps=1, batch_size=1, patch_size=8, num_grids=(1,))
COUNT_MODEL = CountModel(num_kernels=2, width=5, num_iterations=2, num_epochs=1, levels=(1.0, 2.0))


def make_crsae(atoms=ATOMS, rate=0.5):
    return Crsae(atoms, rate, num_iterations=3)


def make_autoencoder(atoms=ATOMS[:, :2], regularization=None):
    prior = Sparse(regularization=torch.ones(2) if regularization is None else regularization)
    return ExponentialAutoencoder(atoms, Poisson(), prior, unrolling=SHORT_UNROLLING)


def make_denoiser(**changes):
    return Denoiser(**({"likelihood": Poisson(), "width": 4, "num_atoms": 2, "unrolling": SHORT_UNROLLING} | changes))


def make_linked(**changes):
    views = {"a": View(width=4, atoms=changes.pop("atoms", None)), "b": View(width=4)}
    return LinkedDictionaries(**({"views": views, "num_atoms": 2} | changes))


def make_coder(**changes):
    return VariationalSparseCoder(**({"num_atoms": 2, "width": 4, "depth": 1} | changes))


def backpropagation(rate=0.1):
    return Backpropagation(make_crsae(), PRIOR, atom_learning_rate=rate, rate_learning_rate=0.1)


def fit_denoiser(observed=COUNTS, targets=None, **changes):
    make_denoiser().fit(observed, targets, fitting=Fitting(num_epochs=1), **changes)


def fit_linked(observed=WINDOWS, *, atoms=None, first_atoms=None, **changes):
    initial_atoms = None if first_atoms is None else {"a": first_atoms}
    views, fitting = {"a": observed, "b": OTHER_VIEW}, LinkedFitting(num_epochs=1)
    return make_linked(atoms=atoms).fit(views, initial_atoms=initial_atoms, fitting=fitting, **changes)


def fit_coder(observed=WINDOWS, **changes):
    return make_coder().fit(observed, fitting=VariationalFitting(num_epochs=1), **changes)


@cache
def fitted(kind):
    return {
        "denoiser": lambda: make_denoiser().fit(COUNTS, fitting=Fitting(num_epochs=1)),
        "linked": fit_linked,
        "coder": fit_coder,
        "encoder": lambda: make_event_encoder(make_crsae(), WINDOWS),
        "images": lambda: learn_image_atoms([IMAGE], 1.0, settings=IMAGE_LEARNING),
        "counts": lambda: CountImageDenoiser(COUNT_NETWORK),
    }[kind]()


def train_on(windows=WINDOWS, validation=WINDOWS):
    train(backpropagation(), windows, validation, num_epochs=1, batch_size=3)


def step(make_trainer, windows):
    trainer = make_trainer()
    trainer.loss(windows)
    trainer.step(windows)


# Every door that takes an array: its name, what is done with one, what messages call it, and a good one.
ARRAYS = [
    ("Crsae", make_crsae, "atoms", ATOMS),
    ("Crsae", lambda rate: make_crsae(rate=rate), "rate", torch.ones(2)),
    ("Crsae.encode", lambda traces: make_crsae().encode(traces), "traces", WINDOWS),
    ("Crsae()", lambda traces: make_crsae()(traces), "traces", WINDOWS),
    ("Crsae of images", lambda traces: make_crsae(draw(2, 1, 3, 3)).encode(traces), "traces", draw(3, 1, 8, 8)),
    ("Lcsc", lambda atoms: Lcsc(atoms, 0.5), "atoms", ATOMS),
    ("Lcsc()", lambda traces: Lcsc(ATOMS, 0.5)(traces), "traces", WINDOWS),
    ("Backpropagation", partial(step, backpropagation), "windows", WINDOWS),
    ("EM", partial(step, lambda: ExpectationMaximization(make_crsae(), PRIOR)), "windows", WINDOWS),
    ("EventMaximization", partial(step, lambda: EventMaximization(make_crsae())), "windows", WINDOWS),
    ("make_event_encoder", partial(make_event_encoder, make_crsae()), "windows", WINDOWS),
    ("find_events", lambda windows: find_events(fitted("encoder"), windows), "windows", WINDOWS),
    ("initialize_atoms", lambda windows: initialize_atoms(windows, 2, 4, threshold=3.0), "windows|threshold", WINDOWS),
    ("train", train_on, "windows", WINDOWS),
    ("train", lambda validation: train_on(validation=validation), "validation|windows", WINDOWS),
    ("smooth_part", smooth_part, "image", IMAGE),
    ("denoise_image", lambda image: denoise_image(image, 1.0, model=fitted("images")), "image", IMAGE),
    ("learn_image_atoms", lambda images: learn_image_atoms([images], 1.0, settings=IMAGE_LEARNING), "images", IMAGE),
    ("ExponentialAutoencoder", make_autoencoder, "atoms", ATOMS[:, :2]),
    ("ExponentialAutoencoder.encode", lambda observed: make_autoencoder().encode(observed), "observed", COUNTS),
    ("ExponentialAutoencoder.denoise", lambda observed: make_autoencoder().denoise(observed), "observed", COUNTS),
    ("Denoiser.fit", fit_denoiser, "observed", COUNTS),
    ("Denoiser.fit", lambda targets: fit_denoiser(targets=targets), "targets", COUNTS + 0.5),
    ("Denoiser.fit", lambda baseline: fit_denoiser(baseline=baseline), "baseline", draw(6, 2, 16)),
    ("Denoiser.fit", lambda initial_atoms: fit_denoiser(initial_atoms=initial_atoms), "initial_atoms", ATOMS[:, :2]),
    ("Denoiser.denoise", lambda observed: fitted("denoiser").denoise(observed), "observed", COUNTS),
    ("denoise_counts", lambda counts: denoise_counts(counts, model=COUNT_MODEL), "counts", UNITS),
    (
        "denoise_count_image",
        lambda counts: denoise_count_image(counts, fitted("counts"), num_grids=(1,)),
        "counts",
        PHOTONS,
    ),
    (
        "learn_count_images",
        lambda images: learn_count_images([images], learning=COUNT_LEARNING, network=COUNT_NETWORK),
        "images",
        PHOTONS,
    ),
    ("LinkedDictionaries.fit", fit_linked, "observed", WINDOWS),
    ("LinkedDictionaries.fit", lambda atoms: fit_linked(first_atoms=atoms), "atoms", ATOMS),
    ("LinkedDictionaries.fit", lambda drive: fit_linked(drive=drive), "drive", draw(6, 2)),
    ("View", lambda atoms: fit_linked(atoms=atoms), "atoms", ATOMS),
    ("LinkedDictionaries.encode", lambda observed: fitted("linked").encode({"a": observed}), "observed", WINDOWS),
    (
        "LinkedDictionaries.score",
        lambda truth: fitted("linked").score({"a": WINDOWS}, truth, target="b"),
        "truth",
        OTHER_VIEW,
    ),
    ("block_purity", lambda code: block_purity(code, [0, 1], atoms_per_class=2), "code|atoms_per_class", draw(2, 4)),
    ("VariationalSparseCoder.fit", fit_coder, "observed", WINDOWS),
    ("VariationalSparseCoder.fit", lambda atoms: fit_coder(initial_atoms=atoms), "initial_atoms", ATOMS),
    ("VariationalSparseCoder.encode", lambda observed: fitted("coder").encode(observed), "observed", WINDOWS),
    ("VariationalSparseCoder.elbo", lambda observed: fitted("coder").elbo(observed), "observed", WINDOWS),
]


def put(value, array):
    spoiled = array.clone()
    spoiled.view(-1)[1] = value
    return spoiled


MEANT = {
    "numpy": torch.Tensor.numpy,
    "numpy of double precision": lambda array: array.numpy().astype("float64"),
    "numpy that must not be written": lambda array: np.broadcast_to(array.numpy(), array.shape),
    "numpy backwards": lambda array: array.numpy()[::-1].copy()[::-1],
    "numpy of the other byte order": lambda array: array.numpy().astype(">f4"),
    "list": torch.Tensor.tolist,
    "double precision": torch.Tensor.double,
}
WRONG = {
    "complex": lambda array: array.to(torch.complex64),
    "text": lambda array: "abc",
    "objects": lambda array: np.full(array.shape, object()),
    "nothing": lambda array: [],
    "ragged": lambda array: [[1.0, 2.0], [3.0]],
    "two axes more": lambda array: array[None, None],
    "scalar of NaN": lambda array: torch.tensor(np.nan),
    "no windows": lambda array: array[:0],
    "NaN": partial(put, np.nan),
    "inf": partial(put, np.inf),
    "without values": lambda array: array.to("meta"),
}
DOUBTFUL = {
    "integers": lambda array: (3 * array.numpy()).astype("int16"),
    "one axis less": lambda array: array[0],
    "more channels": lambda array: torch.cat([array, array[:, :1]], dim=1) if array.ndim > 1 else array,
    "one channel": lambda array: array[:, :1] if array.ndim > 1 else array,
    "two samples": lambda array: array[..., :2],
    "no samples": lambda array: array[..., :0],
    "half precision": torch.Tensor.half,
    "zeros": torch.zeros_like,
    "negative": lambda array: -array.abs() - 1,
    "huge": lambda array: 1e30 * array,
}


@pytest.fixture(autouse=True)
def as_users_call():
    """Types are not checked at the door, as without the option of the tests that does it."""
    jaxtyping.config.update("jaxtyping_disable", True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    jaxtyping.config.update("jaxtyping_disable", False)


def refusal(function, value):
    """Return the message of the error that a value is answered with, or None; errors of torch's insides pass."""
    told = None
    try:
        function(value)
    except ValueError as error:
        told = error
    if told is None:
        return None
    assert "si_crsae" in traceback.extract_tb(told.__traceback__)[-1].filename
    return str(told)


@pytest.mark.parametrize("door", ARRAYS, ids=lambda door: f"{door[0]} {door[2]}")
def test_arrays_are_taken_or_refused_by_name(door):
    _, function, name, good = door
    for kind, make in MEANT.items():
        assert refusal(function, make(good)) is None, kind
    for kind, make in WRONG.items():
        assert re.search(name, refusal(function, make(good)) or ""), kind
    for kind, make in DOUBTFUL.items():
        message = refusal(function, make(good))
        assert message is None or re.search(name, message), kind


SETTINGS = {
    Crsae: (partial(Crsae, ATOMS, 0.5), ["noise_sd", "num_iterations", "step_size"]),
    Lcsc: (lambda **changes: Lcsc(ATOMS, **({"threshold": 0.5} | changes)), ["threshold", "num_iterations"]),
    Backpropagation: (
        lambda **changes: Backpropagation(
            make_crsae(), PRIOR, **({"atom_learning_rate": 0.1, "rate_learning_rate": 0.1} | changes)
        ),
        ["atom_learning_rate", "rate_learning_rate"],
    ),
    ExpectationMaximization: (
        partial(ExpectationMaximization, make_crsae(), PRIOR),
        ["first_regularization", "decay"],
    ),
    ReconstructionTraining: (partial(ReconstructionTraining, Lcsc(ATOMS, 0.5)), ["learning_rate"]),
    RatePrior: (lambda **changes: RatePrior(**({"shape": 1.0, "rate": 1.0} | changes)), ["shape", "rate"]),
    initialize_atoms: (
        lambda **changes: initialize_atoms(WINDOWS, **({"num_atoms": 2, "width": 4, "threshold": 3.0} | changes)),
        ["num_atoms", "width", "threshold", "num_components", "seed"],
    ),
    train: (
        lambda **changes: train(backpropagation(), WINDOWS, WINDOWS, **({"num_epochs": 1, "batch_size": 3} | changes)),
        ["num_epochs", "batch_size", "seed"],
    ),
    learning_rate_range_test: (
        lambda **changes: learning_rate_range_test(
            backpropagation, WINDOWS, WINDOWS, **({"rates": (0.1,), "batch_size": 3} | changes)
        ),
        ["batch_size", "num_steps", "seed"],
    ),
    ImageLearning: (
        ImageLearning,
        ["num_atoms", "width", "num_iterations", "first_rate", "prior_mean", "prior_strength", "patch_size"]
        + ["num_patches", "num_epochs", "batch_size", "learning_rate", "rate_share", "smoothness"],
    ),
    smooth_part: (partial(smooth_part, IMAGE), ["smoothness"]),
    Unrolling: (Unrolling, ["num_iterations", "step_size"]),
    Denoiser: (make_denoiser, ["width", "num_atoms"]),
    Fitting: (Fitting, ["num_epochs", "batch_size", "learning_rate", "seed"]),
    CountModel: (
        CountModel,
        ["num_kernels", "width", "levels", "num_iterations", "num_epochs", "learning_rate", "seed"],
    ),
    CountImageNetwork: (CountImageNetwork, ["num_atoms", "width", "stride", "num_iterations", "num_levels"]),
    CountImageLearning: (
        CountImageLearning,
        ["peaks", "num_steps", "batch_size", "patch_size", "num_grids", "learning_rate"],
    ),
    LinkedDictionaries: (make_linked, ["num_atoms", "regularization", "views"]),
    View: (View, ["weight", "width", "stride"]),
    LinkedFitting: (
        LinkedFitting,
        ["num_epochs", "batch_size", "learning_rate", "seen", "contrast", "validation_share", "seed"],
    ),
    class_blocks: (
        lambda **changes: class_blocks([0, 1], **({"num_atoms": 4, "atoms_per_class": 2} | changes)),
        ["num_atoms", "atoms_per_class", "num_classes"],
    ),
    VariationalSparseCoder: (make_coder, ["num_atoms", "width", "depth"]),
    Objective: (Objective, ["noise_variance", "num_samples", "atom_penalty"]),
    VariationalFitting: (
        VariationalFitting,
        ["num_epochs", "batch_size", "learning_rate", "dictionary_rate", "initial_norm", "warmup", "first_noise"]
        + ["first_kl", "seed"],
    ),
}


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind, (_, names) in SETTINGS.items() for name in names],
    ids=lambda part: getattr(part, "__name__", part),
)
def test_numbers_that_are_none_are_refused_by_name(kind, name):
    make = SETTINGS[kind][0]
    for value in (-1, -0.5, np.nan, np.inf, "one", [1, "two"]):
        assert name in (refusal(lambda wrong: make(**{name: wrong}), value) or ""), value


@pytest.mark.parametrize("function", [correlate, partial(fista_solve, regularization=torch.ones(2), num_iterations=2)])
def test_the_core_says_what_does_not_fit(function):
    for traces, message in (
        (WINDOWS.numpy(), "traces is a ndarray: it must be a tensor"),
        (WINDOWS[0], r"traces has shape \(3, 16\) and atoms \(2, 3, 4\): both must have three axes"),
        (WINDOWS[:, :2], "traces has 2 channels and atoms 3: there must be as many"),
        (WINDOWS.double(), r"traces is torch.float64 and atoms torch.float32: convert one with traces.to\(atoms.dtype"),
        (WINDOWS.to("meta"), "traces lies on meta and atoms on cpu: move one"),
    ):
        with pytest.raises(ValueError, match=message):
            function(traces, atoms=ATOMS)


def test_the_core_refuses_codes_and_atoms_that_are_none():
    with pytest.raises(ValueError, match="code has 3 atoms and atoms 2: there must be as many"):
        synthesize(draw(6, 3, 13), ATOMS)
    with pytest.raises(ValueError, match="it must have values, none of them NaN or infinite"):
        lipschitz_bound(put(np.nan, ATOMS))
    with pytest.raises(ValueError, match=r"regularization has shape \(3,\): it must have one value per atom, 2"):
        fista_solve(WINDOWS, ATOMS, torch.ones(3), num_iterations=2)


def test_lambda_is_a_tensor_as_precise_as_the_atoms():
    for wrong in (2.0, np.ones(2), [1.0, 1.0]):
        with pytest.raises(ValueError, match="regularization is a .*: it must be a tensor"):
            Sparse(regularization=wrong)
    with pytest.raises(ValueError, match=r"prior: regularization has shape \(3,\); with num_atoms = 2 it must have 2"):
        make_autoencoder(regularization=torch.ones(3))
    given = make_autoencoder(regularization=torch.ones(2, dtype=torch.float64)).encode(COUNTS)
    torch.testing.assert_close(given, make_autoencoder().encode(COUNTS), rtol=0, atol=0)


def test_a_code_is_decoded_or_refused():
    code = draw(6, 2, 13)
    torch.testing.assert_close(make_crsae().decode(code.numpy()), make_crsae().decode(code), rtol=0, atol=0)
    for wrong in (code[0], code[:, :1], code.to(torch.complex64), "abc", code.to("meta")):
        with pytest.raises(ValueError, match="code"):
            make_crsae().decode(wrong)


def test_arrays_give_what_tensors_of_single_precision_give():
    expected = make_crsae().encode(WINDOWS)
    for given in (WINDOWS.numpy(), WINDOWS.double(), WINDOWS.tolist()):
        torch.testing.assert_close(make_crsae(ATOMS.double().numpy()).encode(given), expected, rtol=0, atol=0)
    whole = (10 * WINDOWS).round()
    torch.testing.assert_close(make_crsae().encode(whole.int()), make_crsae().encode(whole), rtol=0, atol=0)
    assert make_crsae(ATOMS.double()).encode(WINDOWS).dtype == torch.float64


def test_a_gradient_reaches_windows_of_another_precision():
    windows = WINDOWS.double().requires_grad_()
    make_crsae().encode(windows).square().sum().backward()
    assert windows.grad is not None
    assert bool(windows.grad.any())


@pytest.mark.parametrize(
    "model_on",
    [
        partial(Denoiser, likelihood=Poisson(), width=3),
        partial(VariationalSparseCoder, num_atoms=2),
        partial(LinkedDictionaries, views={"seen": View()}, num_atoms=2, regularization=0.1),
    ],
)
def test_models_take_any_gpu_by_its_number(model_on):
    assert model_on(device="cuda:1").device == "cuda:1"
    with pytest.raises(ValueError, match="'cuda:one': it must be one of auto, cpu, cuda, or cuda:N for the GPU number"):
        model_on(device="cuda:one")
