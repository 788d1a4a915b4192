"""The one way round for timm on a CPU build of torch.

timm imports torchvision; the torchvision wheels on the package index are linked to CUDA, so on
a CPU torch their operators do not load and the import fails with "operator torchvision::nms
does not exist". timm's networks use none of these operators: declaring the names is enough.
With a matching torchvision nothing here happens.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import torch

_declared: list[Any] = []
"""Kept alive: a collected Library takes its declarations with it."""


def import_timm() -> ModuleType:
    """Return the timm module; raises ImportError when timm itself is not installed."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(library)
    import timm

    module: ModuleType = timm
    return module
