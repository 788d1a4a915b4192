"""Samples become decisions: front end, network, aggregation, threshold."""
