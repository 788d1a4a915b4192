"""scipy's compiled parts, and its public functions where they are not there: the same bits."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from recorder.detect.mel import MelConfig, mel_matrix
from recorder.detect.scipy_parts import (
    FFT_PART,
    SPARSE_PART,
    compiled_part,
    real_fft,
    sparse_product,
)


def test_both_ways_to_the_transform_give_the_same_bits() -> None:
    part = compiled_part(FFT_PART)
    rows = np.random.default_rng(0).standard_normal((37, 2048)).astype(np.float32)
    public = real_fft(None)(rows)
    assert public.dtype == np.complex64
    np.testing.assert_array_equal(real_fft(part)(rows), public)
    np.testing.assert_allclose(public, np.fft.rfft(rows.astype(np.float64)).T, atol=1e-3)


def test_both_ways_to_the_product_give_the_same_bits() -> None:
    part = compiled_part(SPARSE_PART)
    matrix = mel_matrix(MelConfig()).T.astype(np.float32)
    columns = np.random.default_rng(1).random((matrix.shape[1], 33)).astype(np.float32)
    public = sparse_product(None, matrix)(columns)
    np.testing.assert_array_equal(sparse_product(part, matrix)(columns), public)
    np.testing.assert_allclose(public, matrix.astype(np.float64) @ columns, rtol=1e-5)


def test_a_part_that_is_not_there_is_none() -> None:
    assert compiled_part("fft/_pocketfft/nothing_of_the_kind") is None


@pytest.mark.skipif(
    compiled_part(FFT_PART) is None or compiled_part(SPARSE_PART) is None,
    reason="this release of scipy has them elsewhere",
)
def test_a_log_mel_does_not_import_all_of_scipy() -> None:
    code = (
        "import sys, numpy as np\n"
        "from recorder.detect.mel import MelConfig, log_mel\n"
        "log_mel(np.zeros(50_000, np.float32), 2, MelConfig())\n"
        "print([one for one in sys.modules if one.startswith('scipy')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
