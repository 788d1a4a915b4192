"""What lies on disk: recordings, their labels, who holds out what; decoded."""
