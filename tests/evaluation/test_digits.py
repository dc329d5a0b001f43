"""Digits: MNIST's files are read as they are, or refused; printed digits look like themselves."""

import gzip

import numpy as np
import pytest
from scipy.ndimage import zoom

from si_crsae.evaluation.digits import read_mnist, render_glyphs


def write_idx(folder, name, array, *, magic):
    header = magic.to_bytes(4, "big") + b"".join(size.to_bytes(4, "big") for size in array.shape)
    (folder / f"t10k-{name}-ubyte.gz").write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


def test_images_and_labels_are_read(tmp_path):
    images = np.arange(3 * 28 * 28).reshape(3, 28, 28) % 256
    write_idx(tmp_path, "images-idx3", images, magic=2051)
    write_idx(tmp_path, "labels-idx1", np.array([7, 0, 9]), magic=2049)
    pixels, labels = read_mnist(tmp_path)
    np.testing.assert_allclose(255 * pixels, images.reshape(3, 784), rtol=1e-6)
    assert labels.tolist() == [7, 0, 9]


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"t10k-images-idx3-ubyte.gz is missing: put MNIST's t10k files"):
        read_mnist(tmp_path)
    write_idx(tmp_path, "images-idx3", np.zeros((3, 28, 28)), magic=2049)
    with pytest.raises(ValueError, match=r"begins with 2049: it must be 2051"):
        read_mnist(tmp_path)
    write_idx(tmp_path, "images-idx3", np.zeros((3, 28, 28)), magic=2051)
    write_idx(tmp_path, "labels-idx1", np.zeros(2), magic=2049)
    with pytest.raises(ValueError, match=r"3 images and 2 labels"):
        read_mnist(tmp_path)


def test_glyphs_are_ten_different_centered_digits():
    glyphs = render_glyphs()
    assert glyphs.shape == (10, 784)
    assert glyphs.min() == 0
    assert glyphs.max() == 1
    similarity = np.corrcoef(glyphs)
    assert similarity[~np.eye(10, dtype=bool)].max() < 0.9
    weight = glyphs.reshape(10, 28, 28)
    for axis in (1, 2):
        center = (weight.sum(axis=axis) * np.arange(28)).sum(axis=1) / weight.sum(axis=(1, 2))
        assert np.abs(center - 13.5).max() < 3
    smaller = zoom(weight, (1, 20 / 28, 20 / 28), order=1).reshape(10, 400)
    assert np.corrcoef(render_glyphs(size=20), smaller)[:10, 10:].argmax(axis=1).tolist() == list(range(10))
