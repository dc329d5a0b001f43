"""Digits, handwritten and printed: what linear and non-linear classifiers make of the codes."""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from cases import data_folder
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC, LinearSVC
from sorters import Row
from torch import Tensor
from torch.nn import functional

from si_crsae.evaluation.digits import read_mnist, render_glyphs
from si_crsae.models import LinkedDictionaries, LinkedFitting, View, block_purity, class_blocks, strongest_block

NUM_TRAINING = 8000
NUM_ATOMS = 256
ATOMS_PER_CLASS = 25
REGULARIZATION = 0.03
# What the class vector is on one block: as high as the strongest coefficients of a digit are.
BLOCK_HEIGHT = 0.3
# Largest angle, in radians, change of size and shear, and move to either side, in pixels, of a digit learned from.
DEFORMATIONS = (0.15, 0.1, 0.1, 1.0, 1.0)
CLASSIFIERS = {
    "logistic": lambda: LogisticRegression(max_iter=1000),
    "linear_svm": lambda: LinearSVC(),
    "rbf_svm_1": lambda: SVC(C=1.0),
    "rbf_svm_10": lambda: SVC(C=10.0),
}


@dataclass(frozen=True)
class Method:
    """Which views are linked, and how they learn."""

    glyph_weight: float | None = None
    class_weight: float | None = None
    drive: float | None = None
    fitting: dict = field(default_factory=dict)


METHODS = {
    "single": Method(),
    "linked": Method(glyph_weight=2.0),
    "linked, free phase": Method(glyph_weight=2.0, fitting={"seen": ["digit"], "contrast": 0.7}),
    "ordinal view, free phase": Method(
        glyph_weight=2.0, class_weight=0.03, fitting={"seen": ["digit"], "contrast": 0.7}
    ),
    "ordinal current": Method(glyph_weight=2.0, drive=0.02),
}


def run(arguments: argparse.Namespace, add: Callable[[list[Row]], None]) -> str:
    """Learn on 8,000 digits of each split, test on the others; returns a table of means and ranges over splits."""
    images, labels = read_mnist(data_folder() / "mnist")
    results: dict[str, dict[str, list[float]]] = {}
    for split in range(arguments.splits):
        order = np.random.default_rng(split).permutation(len(labels))
        training, test = order[: arguments.digits], order[NUM_TRAINING:]
        for name in ("raw pixels", *METHODS):
            start = time.perf_counter()
            if name == "raw pixels":
                figures = classify(images[training], images[test], labels[training], labels[test])
            else:
                figures = evaluate(METHODS[name], images, labels, training, test, arguments)
            figures["seconds"] = time.perf_counter() - start
            add([row(f"split{split}", name, figure, value) for figure, value in figures.items()])
            for figure, value in figures.items():
                results.setdefault(name, {}).setdefault(figure, []).append(value)
            sys.stderr.write(f"split {split} {name} { ({key: round(value, 4) for key, value in figures.items()}) }\n")
    return table(results)


def evaluate(
    method: Method,
    images: np.ndarray,
    labels: np.ndarray,
    training: np.ndarray,
    test: np.ndarray,
    arguments: argparse.Namespace,
) -> dict[str, float]:
    """Learn from the training digits; codes of all digits are inferred from the digit alone."""
    digits, glyphs = unit_norm(images), unit_norm(render_glyphs())
    linked = learn(method, digits[training], glyphs, labels[training], arguments)
    seen = {"digit": digits}
    code = linked.encode(seen)
    figures = classify(code[training], code[test], labels[training], labels[test])
    figures["active"] = float((code[test] > 0).sum(axis=1).mean())
    if method.glyph_weight is not None:
        predicted = linked.predict({"digit": digits[test]}, target="glyph")
        figures["glyph"] = float(((predicted @ glyphs.T).argmax(axis=1) == labels[test]).mean())
    if method.class_weight is not None or method.drive is not None:
        figures["purity"] = float(np.nanmean(block_purity(code[test], labels[test], atoms_per_class=ATOMS_PER_CLASS)))
        strongest = strongest_block(code[test], atoms_per_class=ATOMS_PER_CLASS, num_classes=10)
        figures["block"] = float((strongest == labels[test]).mean())
    return figures


def learn(
    method: Method, digits: np.ndarray, glyphs: np.ndarray, labels: np.ndarray, arguments: argparse.Namespace
) -> LinkedDictionaries:
    """Return the dictionaries, which have seen the labels through the glyphs and the blocks only."""
    views, observed, options = {"digit": View()}, {"digit": digits}, {}
    if method.glyph_weight is not None:
        views["glyph"], observed["glyph"] = View(weight=method.glyph_weight), glyphs[labels]
    if method.class_weight is not None or method.drive is not None:
        blocks = class_blocks(labels, num_atoms=NUM_ATOMS, atoms_per_class=ATOMS_PER_CLASS)
        first = digits_by_class(labels, seed=arguments.seed)
        options["initial_atoms"] = {name: windows[first] for name, windows in observed.items()}
        if method.drive is not None:
            options["drive"] = method.drive * blocks
        if method.class_weight is not None:
            views["class"] = View(weight=method.class_weight, atoms=torch.eye(NUM_ATOMS))
            observed["class"] = BLOCK_HEIGHT * blocks
    linked = LinkedDictionaries(views=views, num_atoms=NUM_ATOMS, regularization=REGULARIZATION)
    fitting = LinkedFitting(num_epochs=arguments.epochs, validation_share=0.02, seed=arguments.seed, **method.fitting)
    return linked.fit(observed, augment=deform_digits, fitting=fitting, **options)


def digits_by_class(labels: np.ndarray, *, seed: int) -> np.ndarray:
    """Return which digits the atoms start from: those of the class of their block."""
    rng = np.random.default_rng(seed)
    blocks = [rng.choice(np.flatnonzero(labels == digit), ATOMS_PER_CLASS, replace=False) for digit in range(10)]
    return np.concatenate([*blocks, rng.choice(len(labels), NUM_ATOMS - 10 * ATOMS_PER_CLASS, replace=False)])


def deform_digits(views: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """Return the views with every digit of the mini-batch turned, scaled, sheared and moved a little."""
    digits = views["digit"].view(-1, 1, 28, 28)
    angle, scale, shear, right, down = (
        largest * (2 * torch.rand(len(digits), generator=generator) - 1) for largest in DEFORMATIONS
    )
    first_row = torch.stack([(1 + scale) * angle.cos(), shear - (1 + scale) * angle.sin(), right / 14], dim=1)
    second_row = torch.stack([(1 + scale) * angle.sin(), (1 + scale) * angle.cos(), down / 14], dim=1)
    places = functional.affine_grid(torch.stack([first_row, second_row], dim=1), digits.shape, align_corners=False)
    deformed = functional.grid_sample(digits, places, align_corners=False).flatten(1)
    return views | {"digit": functional.normalize(deformed)[:, :, None]}


def classify(
    training: np.ndarray, test: np.ndarray, training_labels: np.ndarray, test_labels: np.ndarray
) -> dict[str, float]:
    """Return the accuracy of every classifier."""
    return {
        name: float(make().fit(training, training_labels).score(test, test_labels))
        for name, make in CLASSIFIERS.items()
    }


def unit_norm(images: np.ndarray) -> np.ndarray:
    """Return images of norm 1."""
    return images / np.linalg.norm(images, axis=1, keepdims=True)


def table(results: dict[str, dict[str, list[float]]]) -> str:
    """Return the means over splits, with the lowest of the accuracies in parentheses."""
    figures = (*CLASSIFIERS, "glyph", "purity", "block", "active", "seconds")
    lines = ["| code | " + " | ".join(figures) + " |", "|---" * (1 + len(figures)) + "|"]
    for name, values in results.items():
        cells = []
        for figure in figures:
            found = values.get(figure)
            if found is None:
                cells.append("")
            elif figure in CLASSIFIERS:
                cells.append(f"{np.mean(found):.4f} ({min(found):.4f})")
            else:
                cells.append(f"{np.mean(found):.{1 if figure in ('active', 'seconds') else 3}f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def row(case: str, method: str, figure: str, value: float) -> Row:
    """One row of the results."""
    return {"case": case, "method": method, "figure": figure, "value": round(value, 4), "unit": "1"}
