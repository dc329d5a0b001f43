"""Files of what a model has learned, which torch reads without running code."""

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from si_crsae.files import written_whole

Kinds = dict[str, type]


def dataclasses_of(*modules: ModuleType) -> Kinds:
    """Return the dataclasses that modules define, by name: all that `revive` may make."""
    return {
        name: kind
        for module in modules
        for name, kind in vars(module).items()
        if isinstance(kind, type) and is_dataclass(kind)
    }


def describe_dataclass(value: Any, kinds: Kinds) -> dict[str, Any]:
    """Return a dataclass, and those that it holds, as dicts, or raise ValueError for one that is not known."""
    if kinds.get(type(value).__name__) is not type(value):
        raise ValueError(f"{type(value).__name__} cannot be saved: only {', '.join(kinds)} can")
    parts = {entry.name: getattr(value, entry.name) for entry in fields(value)}
    nested = {name: describe_dataclass(part, kinds) if is_dataclass(part) else part for name, part in parts.items()}
    return {"kind": type(value).__name__} | {name: plain(part) for name, part in nested.items()}


def plain(value: Any) -> Any:
    """Return numbers of numpy as those of Python: torch would not read them back."""
    return value.item() if isinstance(value, np.generic) else value


def revive(description: dict[str, Any], kinds: Kinds) -> Any:
    """Return what was described."""
    parts = {name: revive(part, kinds) if isinstance(part, dict) else part for name, part in description.items()}
    kind = parts.pop("kind", None)
    if kind not in kinds:
        raise ValueError(f"kind = {kind!r}: a file must describe one of {', '.join(kinds)}; save it again")
    return kinds[kind](**parts)


def save_whole(saved: dict[str, Any], path: str | Path) -> None:
    """Write a file that torch reads without running code; what was at the path stays if that fails."""
    with written_whole(path) as unfinished, unfinished.open("wb") as file:
        torch.save(saved, file)


def load_saved(path: str | Path, *, entries: Iterable[str], what: str) -> dict[str, Any]:
    """Return what a file holds, or raise ValueError if it does not have these entries."""
    try:
        saved = torch.load(path, weights_only=True, map_location="cpu")
    except OSError:
        raise
    except Exception as error:  # what torch raises depends on where the file is damaged
        raise ValueError(f"path = {path}: torch cannot read it; pass a file that save has written") from error
    if not isinstance(saved, dict) or not set(entries) <= saved.keys():
        raise ValueError(f"path = {path}: it holds no {what}; pass a file that save has written")
    return saved
