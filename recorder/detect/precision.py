"""Which of a bundle's encoders runs: float32, or 8-bit integers.

The same recording gives the same detections on every machine, so that floats run wherever they are
there; who wants the speed or the size asks for integers. Their sums of uint8 times int8 are exact
on ARM and on x86 with dot products of bytes (VNNI); older x86 adds pairs of products in 16 bits,
which overflow.
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
    """fp32 or int8; auto takes fp32 unless the bundle has int8 alone.

    ModelError when the bundle does not have it, when int8 has failed its gate (`birdrec export
    gate`), or when this processor would compute it wrongly.
    """
    check_precision(wanted)
    if wanted == "auto":
        wanted = bundle.precisions[0]
    if wanted not in bundle.precisions:
        raise ModelError(
            f"{bundle.path} has no {wanted} encoder, only {' and '.join(bundle.precisions)}"
        )
    if wanted == "int8" and bundle.int8_gate == "failed":
        raise ModelError(
            f"{bundle.path}: its int8 encoder failed the gate (gate.json): it is not the model "
            "that was trained; quantize it again with other recordings, or take fp32"
        )
    if wanted == "int8" and not int8_is_exact():
        raise ModelError(
            f"{bundle.path}: this processor has no dot products of bytes (VNNI), without which "
            "int8 overflows: take --precision fp32, or the bundle with the float encoder"
        )
    return wanted


@lru_cache(maxsize=1)
def int8_is_exact() -> bool:
    """Whether this processor multiplies bytes without overflow; taken for granted off Linux."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return True
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return bool(_BYTE_DOT_PRODUCTS & set(flags.split()))
