"""Offline training from weakly labelled clips (extra `train`)."""
