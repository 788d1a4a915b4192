"""A page for people: what a scan or a station has heard, and how it went."""
