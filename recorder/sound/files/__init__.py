"""Recordings on disk or elsewhere: found, mended, read to their last readable second."""
