"""Detections stay: formats, manifest."""
