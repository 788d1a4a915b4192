"""Samples come in: files, resampling."""
