"""Neurons that belong to classes: which ones a class drives, and whether they answer to it."""

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from si_crsae.core.checks import check_at_least_one
from si_crsae.models.arrays import as_tensor, as_whole_numbers, check_values


def class_blocks(
    labels: ArrayLike, *, num_atoms: int, atoms_per_class: int, num_classes: int | None = None
) -> Float[np.ndarray, "batch atom"]:
    """Return which neurons the class of each window drives: ones on the block of the class, zeros elsewhere.

    As one more view, with the identity for its fixed atoms, or as a current: the two readings of the third input of
    [1]_.

    Parameters
    ----------
    labels : array of int, shape (batch,)
        From 0.
    num_atoms : int
        Neurons; those beyond the last block are free.
    atoms_per_class : int
        Class ``c`` drives neurons ``c * atoms_per_class`` to ``(c + 1) * atoms_per_class - 1``.
    num_classes : int, default: None
        If None, one more than the largest label.

    Returns
    -------
    array, shape (batch, atom)

    Raises
    ------
    ValueError
        If the labels are no classes, a class has no sample, or the blocks do not fit.

    References
    ----------
    .. [1] Barari and Kim, "Linking sparse coding dictionaries for representation learning", 2021.

    Examples
    --------
    >>> class_blocks([1, 0], num_atoms=5, atoms_per_class=2)
    array([[0., 0., 1., 1., 0.],
           [1., 1., 0., 0., 0.]], dtype=float32)
    """
    classes = _checked(labels)
    check_at_least_one(num_atoms=num_atoms, atoms_per_class=atoms_per_class)
    if num_classes is not None:
        check_at_least_one(num_classes=num_classes)
    number = int(classes.max()) + 1 if num_classes is None else num_classes
    if classes.max() >= number:
        raise ValueError(f"labels has the class {classes.max()}: with num_classes = {number} they go to {number - 1}")
    without = np.setdiff1d(np.arange(number), classes)
    if without.size:
        raise ValueError(
            f"labels: there is no sample of {', '.join(map(str, without[:5]))}; its neurons would learn nothing: leave "
            "that class out, or add samples"
        )
    if number * atoms_per_class > num_atoms:
        raise ValueError(
            f"atoms_per_class = {atoms_per_class}: {number} classes need at least one and at most "
            f"{num_atoms // number} of num_atoms = {num_atoms} each"
        )
    block = np.arange(num_atoms) // atoms_per_class
    return (block == classes[:, None]).astype("float32")


def block_purity(code: ArrayLike, labels: ArrayLike, *, atoms_per_class: int) -> Float[np.ndarray, " batch"]:
    """Return the share of each code's l1 norm that lies in the block of its class.

    Parameters
    ----------
    code : array, shape (batch, atom)
    labels : array of int, shape (batch,)
    atoms_per_class : int
        As for `class_blocks`.

    Returns
    -------
    array, shape (batch,)
        From 0 to 1; NaN for a code of zeros.

    Raises
    ------
    ValueError
        If there are not as many labels as codes, or the atoms have no block for one of them.
    """
    classes = _checked(labels)
    size = _sizes(code, num_classes=int(classes.max()) + 1, atoms_per_class=atoms_per_class)
    if len(classes) != len(size):
        raise ValueError(f"labels has {len(classes)} entries: it must have one per code, {len(size)}")
    inside = size * (np.arange(size.shape[1]) // atoms_per_class == classes[:, None])
    total = size.sum(axis=1)
    return np.divide(inside.sum(axis=1), total, out=np.full(len(size), np.nan), where=total > 0)


def strongest_block(code: ArrayLike, *, atoms_per_class: int, num_classes: int) -> Int[np.ndarray, " batch"]:
    """Return the class whose block has the largest l1 norm, for each code of shape (batch, atom)."""
    size = _sizes(code, num_classes=num_classes, atoms_per_class=atoms_per_class)
    blocks = size[:, : num_classes * atoms_per_class].reshape(len(size), num_classes, atoms_per_class)
    return blocks.sum(axis=2).argmax(axis=1)


def _sizes(code: ArrayLike, *, num_classes: int, atoms_per_class: int) -> Float[np.ndarray, "batch atom"]:
    check_at_least_one(num_classes=num_classes, atoms_per_class=atoms_per_class)
    given = as_tensor(code, name="code", device=torch.device("cpu"))
    if given.ndim != 2:
        raise ValueError(f"code has shape {tuple(given.shape)}: it must be (batch, atom)")
    check_values("code", given)
    size = given.double().abs().numpy()
    if num_classes * atoms_per_class > size.shape[1]:
        raise ValueError(
            f"atoms_per_class = {atoms_per_class}: {num_classes} classes need at least one and at most "
            f"{size.shape[1] // num_classes} of {size.shape[1]} atoms each"
        )
    return size


def _checked(labels: ArrayLike) -> np.ndarray:
    classes = as_whole_numbers(labels, name="labels")
    if classes.ndim != 1 or classes.size == 0 or classes.min() < 0:
        raise ValueError(f"labels has shape {classes.shape}: it must hold one whole number, 0 or more, per window")
    return classes
