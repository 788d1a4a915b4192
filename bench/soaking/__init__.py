"""A station on a stage: its microphone, its clock and its disk are made up, all else is real."""
