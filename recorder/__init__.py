"""What runs in the field: sound comes in, birds are decided, detections stay.

Nothing here imports torch, timm, pandas, librosa or scipy.signal: a Raspberry-Pi-class board
runs it on numpy, two parts of scipy and onnxruntime alone.
"""

import os

# From 1.29 on onnxruntime sends usage data to its maker, and keeps what it could not send in a data
# base on the card. birdrec sends nothing. It is read when onnxruntime is loaded, so it is set here.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
# Matrices here are small: a second thread of OpenBLAS waits more than it works, and doubles the
# processor's time. Several processes work beside each other instead. Read when numpy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

__version__ = "0.1.0"
