"""Handwritten digits and printed ones: two views of the same class."""

import gzip
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

_IMAGE_MAGIC, _LABEL_MAGIC = 2051, 2049
_FONTS = ["Arial", "Liberation Sans", "DejaVu Sans"]


def read_mnist(folder: str | Path) -> tuple[Float[np.ndarray, "image pixel"], Int[np.ndarray, " image"]]:
    """Return the digits of MNIST's test files, the pixels from 0 to 1, and their labels.

    Parameters
    ----------
    folder : path
        That has ``t10k-images-idx3-ubyte.gz`` and ``t10k-labels-idx1-ubyte.gz``.

    Returns
    -------
    images : array of float32, shape (image, 784)
    labels : array of int64, shape (image,)

    Raises
    ------
    FileNotFoundError
        If a file is not there.
    ValueError
        If it is not of that format, or there are not as many labels as images.
    """
    images, labels = (
        _read(Path(folder) / f"t10k-{name}-ubyte.gz", magic)
        for name, magic in (("images-idx3", _IMAGE_MAGIC), ("labels-idx1", _LABEL_MAGIC))
    )
    if len(images) != len(labels):
        raise ValueError(f"folder = {folder}: it has {len(images)} images and {len(labels)} labels")
    return images.reshape(len(images), -1).astype("float32") / 255, labels.astype("int64")


def render_glyphs(*, size: int = 28, font_size: int | None = None) -> Float[np.ndarray, "digit pixel"]:
    """Return the printed digits 0 to 9, in Arial or a font like it, the pixels from 0 to 1.

    Parameters
    ----------
    size : int, default: 28
        Height and width of the images, in pixels.
    font_size : int, default: None
        In pixels; if None, five sevenths of the size, as the digits of MNIST are in theirs.

    Returns
    -------
    array of float32, shape (10, size * size)

    Raises
    ------
    ImportError
        Without matplotlib, which comes with ``pip install 'si_crsae[widgets]'``.
    """
    try:
        from matplotlib.font_manager import FontProperties, fontManager
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise ImportError("render_glyphs needs matplotlib and its fonts: pip install 'si_crsae[widgets]'") from error

    available = {entry.name for entry in fontManager.ttflist}
    name = next(name for name in _FONTS if name in available)
    font = ImageFont.truetype(fontManager.findfont(FontProperties(family=name)), font_size or round(size * 5 / 7))
    glyphs = []
    for digit in range(10):
        image = Image.new("L", (size, size))
        ImageDraw.Draw(image).text((size / 2, size / 2), str(digit), fill=255, font=font, anchor="mm")
        glyphs.append(np.asarray(image, "float32").ravel() / 255)
    return np.stack(glyphs)


def _read(path: Path, magic: int) -> np.ndarray:
    """Return the array of an IDX file of bytes."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: put MNIST's t10k files, gzipped, there")
    content = gzip.decompress(path.read_bytes())
    found = int.from_bytes(content[:4], "big")
    if found != magic:
        raise ValueError(f"{path} begins with {found}: it must be {magic}, an IDX file of bytes")
    num_axes = content[3]
    shape = np.frombuffer(content, ">i4", count=num_axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * num_axes).reshape(shape)
