"""What a net or a scan is worth, in figures and on a page."""
