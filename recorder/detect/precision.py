"""Which of a bundle's encoders runs: float32, or 8-bit integers where the processor has them.

uint8 activations times int8 weights are exact on processors with dot products of bytes (x86 VNNI)
and on ARM; older x86 adds pairs of products in 16 bits, which overflow.
"""

from __future__ import annotations

import platform
from functools import lru_cache
from pathlib import Path

from recorder.detect.bundle import Bundle
from recorder.errors import ModelError, UsageError

PRECISIONS = ("auto", "fp32", "int8")
_BYTE_DOT_PRODUCTS = {"avx512_vnni", "avx_vnni"}


def check_precision(wanted: str) -> None:
    """UsageError unless it is one of PRECISIONS."""
    if wanted not in PRECISIONS:
        raise UsageError(f"--precision {wanted!r}: use {', '.join(PRECISIONS)}")


def choose_precision(bundle: Bundle, wanted: str = "auto") -> str:
    """fp32 or int8; ModelError when the bundle does not have it.

    auto takes int8 where it has passed its gate and runs well here, or where nothing else is there.
    """
    check_precision(wanted)
    if wanted == "auto":
        good = bundle.int8_gate == "passed" and int8_runs_well()
        fp32 = "fp32" in bundle.precisions
        wanted = "int8" if "int8" in bundle.precisions and (good or not fp32) else "fp32"
    if wanted not in bundle.precisions:
        raise ModelError(
            f"{bundle.path} has no {wanted} encoder, only {' and '.join(bundle.precisions)}"
        )
    if wanted == "int8" and bundle.int8_gate == "failed":
        raise ModelError(
            f"{bundle.path}: its int8 encoder failed the gate (gate.json): it is not the model "
            "that was trained; quantize it again with other recordings, or take fp32"
        )
    return wanted


@lru_cache(maxsize=1)
def int8_runs_well() -> bool:
    """Whether this processor multiplies bytes without overflow, and no slower than floats."""
    machine = platform.machine().lower()
    if machine in ("aarch64", "arm64"):
        return True
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return bool(_BYTE_DOT_PRODUCTS & set(flags.split()))
