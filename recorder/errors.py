"""Every error that birdrec raises on purpose, and the exit code that each one means.

    BirdrecError                 70  a bug, unless a subclass says otherwise
    |-- UsageError                2  the command line asks for something that cannot be
    |-- ConfigError               3  a configuration file is wrong
    |-- AudioDeviceError          4  no such microphone, or it went away
    |-- ModelError                5  the bundle is missing, damaged or does not fit
    |-- NothingToDoError          6  no audio was found
    |-- ClusterError              1  the machines that share a scan cannot go on with it
    `-- AudioFileError            1  one file cannot be read; the others go on

A message says what happened, where, what is allowed, and what to do.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_SOME_FAILED = 1
EXIT_INTERRUPTED = 130


class BirdrecError(Exception):
    """The root of the tree."""

    exit_code = 70


class UsageError(BirdrecError):
    """The command line asks for something that cannot be."""

    exit_code = 2


class ConfigError(BirdrecError):
    """A configuration file has an unknown key or a value out of range."""

    exit_code = 3


class AudioDeviceError(BirdrecError):
    """No such microphone, or it cannot be opened."""

    exit_code = 4


class ModelError(BirdrecError):
    """The model bundle is missing, damaged, or does not fit this recorder."""

    exit_code = 5


class NothingToDoError(BirdrecError):
    """No audio was found where it was looked for."""

    exit_code = 6


class AudioFileError(BirdrecError):
    """One recording cannot be read at all."""

    exit_code = EXIT_SOME_FAILED


class ClusterError(BirdrecError):
    """The scheduler is lost, or a worker cannot do what it is asked for."""

    exit_code = EXIT_SOME_FAILED
