"""Two functions of scipy without the rest of it.

`scipy.fft` and `scipy.sparse` import `scipy.special` and its BLAS: 26 MB and 0.2 s, on a board of
512 MB, for a Fourier transform and a sparse product. The compiled modules behind the two functions
need nothing of that. They are scipy's own business: a release that has them elsewhere is used by
its public names, with the same numbers.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def compiled_part(name: str) -> ModuleType | None:
    """A compiled module of scipy, loaded without its package; None where it is not there."""
    package = importlib.util.find_spec("scipy")
    folders = [] if package is None else package.submodule_search_locations or []
    for folder in folders:
        for suffix in EXTENSION_SUFFIXES:
            path = Path(folder, f"{name}{suffix}")
            if path.is_file():
                return _loaded(path)
    return None


def real_fft(part: ModuleType | None) -> Callable[[Floats], NDArray[np.complex64]]:
    """rfft of rows [rows, n_fft] -> [n_fft // 2 + 1, rows], of this part or of scipy's public one.

    Bins first, for what comes next goes through them bin by bin. numpy's takes six times as long in
    float32: it does one row after the other.
    """
    if hasattr(part, "r2c"):
        transform: Any = part
        return lambda rows: transform.r2c(rows.T, axes=(0,), forward=True)
    import scipy.fft

    return lambda rows: scipy.fft.rfft(rows.T, axis=0)


def sparse_product(part: ModuleType | None, matrix: Floats) -> Callable[[Floats], Floats]:
    """The product of a mostly empty [outs, ins] with columns [ins, columns] -> [outs, columns].

    Row by row in a fixed order, unlike a BLAS product, whose rounding depends on how many columns
    come at once.
    """
    outs, ins = matrix.shape
    rows, places = np.nonzero(matrix)
    values = matrix[rows, places]
    starts = np.searchsorted(rows, np.arange(outs + 1)).astype(np.int32)
    places = places.astype(np.int32)
    if hasattr(part, "csr_matvecs"):
        multiply: Any = part

        def product(columns: Floats) -> Floats:
            result = np.zeros((outs, columns.shape[1]), np.float32)
            flat = np.ascontiguousarray(columns).ravel()
            multiply.csr_matvecs(
                outs, ins, columns.shape[1], starts, places, values, flat, result.ravel()
            )
            return result

        return product
    import scipy.sparse

    table = scipy.sparse.csr_array((values, places, starts), shape=matrix.shape)
    return lambda columns: table @ columns


def _loaded(path: Path) -> ModuleType | None:
    spec = importlib.util.spec_from_file_location(path.name.partition(".")[0], path)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FFT_PART = "fft/_pocketfft/pypocketfft"
SPARSE_PART = "sparse/_sparsetools"
