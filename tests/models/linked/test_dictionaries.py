"""Linked dictionaries: one code for several views, each predicted from any other; classes that drive neurons."""

import math

import numpy as np
import pytest
import torch
from drawing import draw_on

from si_crsae.core import LinkedView
from si_crsae.models import LinkedDictionaries, LinkedFitting, View, block_purity, class_blocks, strongest_block
from si_crsae.models.atoms import draw_pieces
from si_crsae.models.linked.model import HebbianTraining, LinkedModel, ViewLayout, hebbian_change

CPU = torch.device("cpu")
SIZES = {"seen": 30, "heard": 20}


def simulate(num_windows=600, *, num_sources=8, density=0.2, noise_sd=0.02, seed=0):
    """Return two views of sparse sources, and the atoms of either."""
    rng = np.random.default_rng(seed)
    sources = (1 + rng.random((num_windows, num_sources))) * (rng.random((num_windows, num_sources)) < density)
    atoms = {name: rng.normal(size=(num_sources, size)) for name, size in SIZES.items()}
    atoms = {name: each / np.linalg.norm(each, axis=1, keepdims=True) for name, each in atoms.items()}
    views = {
        name: sources @ each + noise_sd * rng.normal(size=(num_windows, SIZES[name])) for name, each in atoms.items()
    }
    return views, atoms


def linked_pair(device=CPU, **parameters):
    parameters = {"num_atoms": 8, "regularization": 0.05, "device": device.type} | parameters
    return LinkedDictionaries(views={"seen": View(), "heard": View()}, **parameters)


def closest(found, true):
    """Return the cosine of every true atom with the found one that is most like it."""
    found = found / np.linalg.norm(found, axis=1, keepdims=True).clip(1e-9)
    return (true @ found.T).max(axis=1)


@pytest.fixture(scope="module")
def fitted(device):
    views, atoms = simulate()
    training = {name: windows[:500] for name, windows in views.items()}
    held_out = {name: windows[500:] for name, windows in views.items()}
    return linked_pair(device).fit(training, fitting=LinkedFitting(num_epochs=60, batch_size=50)), held_out, atoms


def test_the_atoms_of_both_views_are_learned_and_stay_linked(fitted):
    linked, _, atoms = fitted
    for name, true in atoms.items():
        assert closest(linked.atoms(name), true).min() > 0.95
    pairs = [(true @ linked.atoms(name).T).argmax(axis=1) for name, true in atoms.items()]
    np.testing.assert_array_equal(*pairs)
    squares = sum(np.square(linked.atoms(name)).sum(axis=1) for name in SIZES)
    np.testing.assert_allclose(squares, 1.0, atol=1e-5)


@pytest.mark.parametrize(("given", "target"), [("seen", "heard"), ("heard", "seen")])
def test_each_view_is_predicted_from_the_other(fitted, given, target):
    linked, held_out, _ = fitted
    assert linked.score({given: held_out[given]}, held_out[target], target=target) > 0.9
    swapped = {given: held_out[given][::-1].copy()}
    assert linked.score(swapped, held_out[target], target=target) < 0.3


def test_more_views_predict_better_than_one(fitted):
    linked, held_out, _ = fitted
    rng = np.random.default_rng(5)
    noisy = {name: windows + 0.3 * rng.normal(size=windows.shape) for name, windows in held_out.items()}
    alone = linked.score({"seen": noisy["seen"]}, held_out["seen"], target="seen")
    both = linked.score(noisy, held_out["seen"], target="seen")
    assert both > alone + 0.02


def test_the_code_is_sparse_nonnegative_and_of_the_kind_that_was_given(device, fitted):
    linked, held_out, _ = fitted
    code = linked.encode(held_out)
    assert isinstance(code, np.ndarray)
    assert code.shape == (100, 8)
    assert (code >= 0).all()
    assert 0.05 < (code > 0).mean() < 0.5
    tensors = {name: torch.as_tensor(windows, device=device) for name, windows in held_out.items()}
    assert isinstance(linked.encode(tensors), torch.Tensor)
    np.testing.assert_array_equal(linked.encode(tensors).cpu().numpy(), code)


def test_the_validation_loss_falls_and_the_same_seed_gives_the_same_atoms(device):
    views, _ = simulate(200)
    first, second, other = (
        linked_pair(device).fit(views, fitting=LinkedFitting(num_epochs=5, seed=seed)) for seed in (0, 0, 1)
    )
    losses = first.history.validation_loss
    assert losses[-1] < 0.7 * losses[0]
    np.testing.assert_array_equal(first.atoms("seen"), second.atoms("seen"))
    assert not np.allclose(first.atoms("seen"), other.atoms("seen"))


def test_what_was_learned_can_be_saved_and_loaded(device, fitted, tmp_path):
    linked, held_out, _ = fitted
    linked.save(tmp_path / "linked.pt")
    loaded = LinkedDictionaries.load(tmp_path / "linked.pt", device=device.type)
    np.testing.assert_array_equal(loaded.encode(held_out), linked.encode(held_out))
    np.testing.assert_array_equal(
        loaded.predict({"seen": held_out["seen"]}, target="heard"),
        linked.predict({"seen": held_out["seen"]}, target="heard"),
    )
    torch.save({"something": 1}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"holds no linked dictionaries"):
        LinkedDictionaries.load(tmp_path / "other.pt", device=device.type)


def test_a_free_phase_makes_the_view_that_is_seen_alone_predict_the_other_better(device):
    rng = np.random.default_rng(0)
    # What is seen has more to say of other things than of the class, and there are few neurons to say it with.
    labels = rng.integers(0, 4, 800)
    seen = 0.35 * rng.normal(size=(4, 30))[labels] + 0.35 * rng.normal(size=(800, 12)) @ rng.normal(size=(12, 30))
    views = {"seen": np.maximum(seen, 0), "heard": np.eye(4)[labels]}
    training, held_out = ({name: each[part] for name, each in views.items()} for part in (slice(600), slice(600, None)))
    scores = {}
    for names in ((), ("seen",)):
        linked = LinkedDictionaries(
            views={"seen": View(), "heard": View()}, num_atoms=12, regularization=0.1, device=device.type
        )
        linked.fit(training, fitting=LinkedFitting(num_epochs=20, batch_size=50, seen=names))
        scores[names] = linked.score({"seen": held_out["seen"]}, held_out["heard"], target="heard")
    assert scores["seen",] > scores[()] + 0.05


@pytest.mark.parametrize("contrast", [0.0, 0.6])
def test_the_rule_is_the_gradient_of_its_loss(device, contrast):
    draw = draw_on(device, 0)
    views = {"left": draw(4, 2, 20), "right": draw(4, 1, 39)}
    atoms = {"left": draw(3, 2, 6), "right": draw(3, 1, 11)}
    made = {
        name: LinkedView(atoms=atoms[name], weight=w, stride=s) for name, w, s in (("left", 1.0, 1), ("right", 0.5, 2))
    }
    model = LinkedModel(made, regularization=0.3, solver="fista")
    fitting = LinkedFitting(seen=("left",), contrast=contrast)
    trainer = HebbianTraining(model, layout=ViewLayout.of(views), fitting=fitting, num_steps=10)

    def exact_loss():
        clamped = model.encode_with_energy(views, tolerance=1e-9)[1]
        return float((clamped - contrast * model.encode_with_energy({"left": views["left"]}, tolerance=1e-9)[1]).sum())

    codes = [model.encode(views, tolerance=1e-9)]
    if contrast:
        codes.append(model.encode({"left": views["left"]}, tolerance=1e-9))
    for name in views:
        change = trainer._change(views, codes, name)
        direction, step = draw(*change.shape), 1e-5
        values = []
        for sign in (1, -1):
            model.atoms[name].add_(sign * step * direction)
            values.append(exact_loss())
            model.atoms[name].sub_(sign * step * direction)
        slope = (values[0] - values[1]) / (2 * step)
        assert -float((change * direction).sum()) == pytest.approx(slope, rel=1e-3)


def test_the_hebbian_change_is_what_fires_times_what_is_left(device):
    residual, code = draw_on(device, 0)(5, 7, 1), draw_on(device, 1, kind=torch.rand)(5, 3, 1)
    torch.testing.assert_close(hebbian_change(residual, code)[:, :, 0], code[:, :, 0].T @ residual[:, :, 0])


def test_fixed_atoms_stay_and_only_the_others_have_norm_one(device):
    views, _ = simulate(200)
    blocks = {"class": class_blocks(np.arange(200) % 4, num_atoms=8, atoms_per_class=2)}
    made = {"seen": View(), "heard": View(), "class": View(weight=0.1, atoms=torch.eye(8))}
    linked = LinkedDictionaries(views=made, num_atoms=8, device=device.type).fit(
        views | blocks, fitting=LinkedFitting(num_epochs=2)
    )
    np.testing.assert_array_equal(linked.atoms("class"), np.eye(8))
    squares = sum(np.square(linked.atoms(name)).sum(axis=1) for name in SIZES)
    np.testing.assert_allclose(squares, 1.0, atol=1e-5)


def test_classes_get_neurons_of_their_own_as_a_view_and_by_a_current(device):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 500)
    shapes = rng.random((3, 4, 25)) ** 3
    seen = shapes[labels, rng.integers(0, 4, 500)] + 0.05 * rng.random((500, 25))
    blocks = class_blocks(labels[:400], num_atoms=13, atoms_per_class=4)
    class_view = {"class": View(weight=0.5, atoms=torch.eye(13))}
    purity, share_found = {}, {}
    for reading, views, observed, drive in (
        ("none", {}, {}, None),
        ("view", class_view, {"class": blocks}, None),
        ("current", {}, {}, 0.1 * blocks),
    ):
        linked = LinkedDictionaries(
            views={"seen": View()} | views, num_atoms=13, regularization=0.05, device=device.type
        )
        linked.fit({"seen": seen[:400]} | observed, drive=drive, fitting=LinkedFitting(num_epochs=30, seen=[]))
        code = linked.encode({"seen": seen[400:]})
        purity[reading] = block_purity(code, labels[400:], atoms_per_class=4).mean()
        found = strongest_block(code, atoms_per_class=4, num_classes=3)
        share_found[reading] = (found == labels[400:]).mean()
    for reading in ("view", "current"):
        assert purity[reading] > purity["none"] + 0.15
        assert share_found[reading] > share_found["none"] + 0.25


def test_a_code_outside_all_blocks_has_no_purity_and_one_of_zeros_none_at_all():
    code = np.array([[1.0, 3.0, 0.0, 0.0, 4.0], [0.0, 0.0, 0.0, 0.0, 2.0], [0.0] * 5])
    purity = block_purity(code, [0, 1, 1], atoms_per_class=2)
    assert purity[0] == 0.5
    assert purity[1] == 0.0
    assert math.isnan(purity[2])


def test_hard_thresholds_do_not_shrink(device):
    views, _ = simulate(300)
    soft, hard = (linked_pair(device, threshold=kind, regularization=0.3) for kind in ("soft", "hard"))
    for linked in (soft, hard):
        linked.fit(views, fitting=LinkedFitting(num_epochs=8))
    assert hard.score(views, views["seen"], target="seen") > soft.score(views, views["seen"], target="seen") + 0.01


def simulate_shanks(*, num_windows=40, num_samples=400, noise_sd=1.0, seed=0):
    """Return traces of two shanks that see the same four cells, the second at twice the rate, and their atoms."""
    rng = np.random.default_rng(seed)
    time = np.arange(30)
    shapes = [np.exp(-(((time - 10) / (2 + cell)) ** 2)) - 0.4 * np.exp(-(((time - 18) / 5) ** 2)) for cell in range(4)]
    fine = [np.interp(np.arange(60) / 2, time, shape) for shape in shapes]
    near, far = rng.uniform(-1, 1, (4, 3)), rng.uniform(-1, 1, (4, 2))
    atoms = {
        "left": np.stack([np.outer(gain, shape) for gain, shape in zip(near, shapes, strict=True)]),
        "right": np.stack([np.outer(gain, shape) for gain, shape in zip(far, fine, strict=True)]),
    }
    atoms = {name: 6 * each / np.linalg.norm(each, axis=(1, 2), keepdims=True) for name, each in atoms.items()}
    spikes = (rng.random((num_windows, 4, num_samples - 29)) < 0.004).astype("float32")
    strides, widths = {"left": 1, "right": 2}, {"left": 30, "right": 60}
    views = {}
    for name, each in atoms.items():
        view = LinkedView(atoms=torch.as_tensor(each, dtype=torch.float32), stride=strides[name])
        clean = view.synthesize(torch.as_tensor(spikes)).numpy()
        views[name] = clean + noise_sd * rng.normal(size=clean.shape).astype("float32")
    made = {name: View(width=widths[name], stride=strides[name]) for name in atoms}
    return made, views, atoms, spikes


def found_spikes(code, spikes, *, level):
    """Return the shares of true spikes found, and of found ones true, within two samples."""
    strong = code > level
    near_true = np.apply_along_axis(np.convolve, 2, spikes, np.ones(5), mode="same") > 0
    near_found = np.apply_along_axis(np.convolve, 2, strong.astype(float), np.ones(5), mode="same") > 0
    return (near_found & (spikes > 0)).sum() / spikes.sum(), (near_true & strong).sum() / max(strong.sum(), 1)


def test_two_shanks_of_different_rates_and_channels_share_one_spike_code(device):
    made, views, atoms, spikes = simulate_shanks(num_windows=80)
    linked = LinkedDictionaries(views=made, num_atoms=4, regularization=3.0, device=device.type)
    rng = np.random.default_rng(1)
    rough = {name: each + 0.5 * rng.normal(size=each.shape) for name, each in atoms.items()}
    linked.fit(views, initial_atoms=rough, fitting=LinkedFitting(num_epochs=20, batch_size=8, learning_rate=0.3))
    scale = math.sqrt(2 * 36)
    for name, true in atoms.items():
        cosine = (linked.atoms(name) * true).sum(axis=(1, 2)) / 6 / np.linalg.norm(linked.atoms(name), axis=(1, 2))
        assert (cosine > 0.9).all()
    recall, precision = found_spikes(linked.encode(views) / scale, spikes, level=0.2)
    assert recall > 0.9
    assert precision > 0.9
    predicted = linked.predict({"left": views["left"]}, target="right")
    assert predicted.shape == views["right"].shape


def test_both_shanks_find_more_of_the_right_spikes_than_one(device):
    made, views, atoms, spikes = simulate_shanks(noise_sd=2.2)
    model = LinkedModel(
        {
            name: LinkedView(atoms=torch.as_tensor(each, dtype=torch.float32, device=device), stride=made[name].stride)
            for name, each in atoms.items()
        },
        regularization=20.0,
    )
    tensors = {name: torch.as_tensor(each, device=device) for name, each in views.items()}
    best = {}
    for names in (("left",), ("right",), ("left", "right")):
        code = model.encode({name: tensors[name] for name in names}).cpu().numpy()
        scores = [found_spikes(code, spikes, level=level) for level in np.linspace(0.1, 0.9, 9)]
        best[names] = max(2 / (1 / max(recall, 1e-9) + 1 / max(precision, 1e-9)) for recall, precision in scores)
    assert best["left", "right"] > max(best["left",], best["right",]) + 0.05


def test_under_a_rescaled_lambda_noise_alone_is_coded_as_rarely_from_one_view_as_from_both(device):
    made, _, atoms, _ = simulate_shanks(num_windows=1)
    noise = {"left": np.random.default_rng(0).normal(size=(50, 3, 400)).astype("float32")}
    views = {
        name: LinkedView(
            atoms=torch.as_tensor(each / math.sqrt(72), dtype=torch.float32, device=device), stride=made[name].stride
        )
        for name, each in atoms.items()
    }
    counts = {}
    for rescaled in (False, True):
        model = LinkedModel(views, regularization=3.0, rescaled=rescaled)
        counts[rescaled] = int((model.encode({"left": torch.as_tensor(noise["left"], device=device)}) > 0).sum())
    # One side of a normal distribution beyond 3, of 50 windows, 4 atoms and 371 positions; and beyond 3 sqrt(2).
    assert 0.4 < counts[True] / (0.00135 * 50 * 4 * 371) < 1.2
    assert counts[False] <= 5


def test_samples_beyond_the_last_stride_are_no_trouble(device):
    rng = np.random.default_rng(0)
    views = {"left": rng.normal(size=(20, 1, 60)), "right": rng.normal(size=(20, 1, 120))}
    linked = LinkedDictionaries(
        views={"left": View(width=9), "right": View(width=17, stride=2)}, num_atoms=3, device=device.type
    )
    linked.fit(views, fitting=LinkedFitting(num_epochs=1))
    assert linked.predict(views, target="right").shape == (20, 1, 120)
    assert linked.predict({"left": views["left"]}, target="right").shape == (20, 1, 119)
    assert linked.score({"left": views["left"]}, views["right"], target="right") <= 1


def test_how_a_code_is_inferred_can_be_changed_after_learning_and_is_saved(device, tmp_path):
    views, _ = simulate(100)
    linked = linked_pair(device, regularization=np.float64(0.05)).fit(views, fitting=LinkedFitting(num_epochs=2))
    before = (linked.encode(views) > 0).sum()
    linked.regularization = 0.5
    code = linked.encode(views)
    assert 0 < (code > 0).sum() < before
    linked.save(tmp_path / "linked.pt")
    np.testing.assert_array_equal(
        LinkedDictionaries.load(tmp_path / "linked.pt", device=device.type).encode(views), code
    )
    linked.atoms("seen")[:] = 0
    assert linked.atoms("seen").any()
    (tmp_path / "text.pt").write_text("no model")
    with pytest.raises(ValueError, match=r"torch cannot read it"):
        LinkedDictionaries.load(tmp_path / "text.pt", device=device.type)


def test_one_loud_window_does_not_silence_the_others(device):
    views, _ = simulate(100)
    linked = linked_pair(device).fit(views, fitting=LinkedFitting(num_epochs=2))
    loud = {name: windows.copy() for name, windows in views.items()}
    for windows in loud.values():
        windows[0] *= 1e6
    np.testing.assert_allclose(linked.encode(loud)[1:], linked.encode(views)[1:], atol=1e-5)


def test_pieces_of_all_views_come_from_the_same_moments(device):
    ramp = torch.arange(1, 41, dtype=torch.float32, device=device).view(1, 1, 40)
    fine = torch.arange(2, 82, dtype=torch.float32, device=device).view(1, 1, 80) / 2
    pieces = draw_pieces(
        {"coarse": ramp, "fine": fine}, {"coarse": 3, "fine": 6}, {"coarse": 1, "fine": 2}, 7,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert pieces["coarse"].shape == (7, 1, 3)
    torch.testing.assert_close(pieces["fine"][:, :, 0], pieces["coarse"][:, :, 0])


PAIR = {"seen": np.ones((5, 3)), "heard": np.ones((5, 2))}


@pytest.mark.parametrize(
    ("observed", "arguments", "message"),
    [
        ({"seen": PAIR["seen"]}, {}, r"observed has the views \['seen'\]: to learn, all are needed"),
        (
            PAIR | {"heard": np.ones((4, 2))},
            {},
            r"\{'seen': 5, 'heard': 4\} windows: .* as many in every",
        ),
        (PAIR | {"heard": np.zeros((5, 2))}, {}, r"observed\['heard'\] is zero everywhere: leave that view out"),
        (PAIR | {"seen": np.full((5, 3), np.nan)}, {}, r"observed\['seen'\] has 15 NaN or infinite values"),
        (PAIR | {"seen": np.ones(5)}, {}, r"observed\['seen'\] has shape \(5,\): its first axis"),
        (PAIR | {"seen": np.ones((5, 3)) * 1j}, {}, r"observed\['seen'\] is complex"),
        (PAIR, {"drive": np.ones((5, 3))}, r"drive has shape \(5, 3\): it must be \(batch, atom\), \(5, 8\)"),
        (PAIR, {"initial_atoms": {"seen": np.ones((8, 4))}}, r"atoms of seen have shape \(8, 4\): .* \(8, 3\)"),
        (PAIR, {"initial_atoms": {"smelled": np.ones((8, 4))}}, r"initial_atoms has \['smelled'\]"),
        (PAIR, {"fitting": LinkedFitting(seen=["seen", "heard"])}, r"it must name some of the views, not all"),
        (PAIR, {"fitting": LinkedFitting(seen=["smelled"])}, r"seen = \['smelled'\]: it must name some of the views"),
    ],
)
def test_views_that_do_not_belong_together_are_refused_and_nothing_is_lost(observed, arguments, message):
    linked = linked_pair()
    with pytest.raises(ValueError, match=message):
        linked.fit(observed, **arguments)
    assert linked.model is None
    with pytest.raises(ValueError, match=r"nothing has been learned yet: call fit"):
        linked.encode(PAIR)


def test_views_unlike_those_of_fit_are_refused(fitted):
    linked, held_out, _ = fitted
    with pytest.raises(ValueError, match=r"observed has the views \[\]: it must have one or more of"):
        linked.encode({})
    with pytest.raises(ValueError, match=r"observed\['seen'\] has shape \(5, 3\): it must be \(batch, 30\)"):
        linked.encode({"seen": PAIR["seen"]})
    with pytest.raises(ValueError, match=r"target = 'smelled': it must be one of the views, seen, heard"):
        linked.predict(held_out, target="smelled")
    with pytest.raises(ValueError, match=r"name = 'smelled'"):
        linked.atoms("smelled")
    with pytest.raises(ValueError, match=r"truth has shape \(100, 30\): it must be that of heard, \(100, 20\)"):
        linked.score(held_out, held_out["seen"], target="heard")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinkedDictionaries(views={}), r"views = \{\}: it must be a dict with at least one view"),
        (lambda: linked_pair(num_atoms=0), r"num_atoms = 0: it must be at least 1"),
        (lambda: linked_pair(regularization=0.0), r"regularization = 0.0: it must be positive"),
        (lambda: linked_pair(threshold="firm"), r"threshold = 'firm': it must be one of soft, hard"),
        (lambda: linked_pair(solver="magic"), r"solver = 'magic': it must be one of auto, descent, fista, lca"),
        (
            lambda: linked_pair(threshold="hard", solver="descent"),
            r"'descent': it must be one of auto, fista, lca$",
        ),
        (lambda: LinkedDictionaries(views={"a": View(width=3), "b": View()}), r"some have a width and others none"),
        (lambda: LinkedDictionaries(views={"a": View(atoms=torch.eye(256))}), r"all have fixed atoms"),
        (lambda: View(weight=-1.0), r"weight = -1.0: it must be positive"),
        (lambda: LinkedDictionaries(views={"a.b": View()}), r"'a.b' cannot be the name of one"),
        (lambda: LinkedDictionaries(views={"keys": View()}), r"'keys' cannot be the name of one"),
        (lambda: linked_pair(regularization=math.inf), r"regularization = inf"),
        (lambda: block_purity(np.ones((2, 2)), [0, 7], atoms_per_class=1), r"8 classes need"),
        (lambda: strongest_block([1.0, 2.0], atoms_per_class=1, num_classes=2), r"code has shape \(2,\)"),
        (lambda: View(width=0), r"width = 0: it must be at least 1, a whole number"),
        (lambda: View(stride=0), r"stride = 0: it must be at least 1, a whole number"),
        (lambda: LinkedFitting(num_epochs=0), r"num_epochs = 0: it must be at least 1"),
        (lambda: LinkedFitting(contrast=1.5), r"contrast = 1.5: it must be from 0 to 1"),
        (lambda: LinkedFitting(learning_rate=0.0), r"learning_rate = 0.0: it must be positive"),
        (lambda: LinkedFitting(validation_share=1.0), r"validation_share = 1.0"),
        (lambda: LinkedFitting(seen="digit"), r"seen = 'digit': it must be a sequence of names"),
        (lambda: class_blocks([0, 2], num_atoms=9, atoms_per_class=3), r"there is no sample of 1"),
        (lambda: class_blocks([0, 1], num_atoms=9, atoms_per_class=5), r"2 classes need .* at most 4 of num_atoms = 9"),
        (lambda: class_blocks([0.5], num_atoms=9, atoms_per_class=5), r"labels has dtype float64: it must hold"),
        (lambda: class_blocks([3], num_atoms=9, atoms_per_class=1, num_classes=2), r"labels has the class 3"),
        (lambda: block_purity(np.ones((2, 4)), [0], atoms_per_class=2), r"labels has 1 entries"),
    ],
)
def test_numbers_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
