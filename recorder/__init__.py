"""What runs in the field: sound comes in, birds are decided, detections stay.

Nothing here imports torch, timm, pandas, librosa or scipy.signal: a Raspberry-Pi-class board
runs it on numpy, scipy.fft and onnxruntime alone.
"""

__version__ = "0.1.0"
