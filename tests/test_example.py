"""The example that the project ships is what its program makes."""

from __future__ import annotations

from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from train.invented.synth import Event
from train.invented.toys import birds_in_chunk

ReadCsv = Callable[[Path], list[dict[str, str]]]
RATE_HZ = 32000
ROOT = Path(__file__).parents[1]


def example_program() -> ModuleType:
    loader = SourceFileLoader("make_example", str(ROOT / "scripts" / "make-example"))
    spec = spec_from_loader("make_example", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_the_example_is_what_its_program_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_csv: ReadCsv
) -> None:
    program = example_program()
    audio, truth = program.AUDIO, program.TRUTH
    monkeypatch.setattr(program, "AUDIO", tmp_path / audio.name)
    monkeypatch.setattr(program, "TRUTH", tmp_path / truth.name)
    program.main()
    made, committed = (soundfile.read(path)[0] for path in (tmp_path / audio.name, audio))
    # Another machine's FFT may round a sample the other way.
    assert np.abs(made - committed).max() <= 2 / 32768
    assert (tmp_path / truth.name).read_text() == truth.read_text()
    assert audio.stat().st_size < 6_000_000
    assert soundfile.info(audio).samplerate == RATE_HZ
    rows = read_csv(truth)
    assert {row["label"] for row in rows} == set(program.SPECIES)
    events = [Event(float(r["start_s"]), float(r["end_s"]), r["label"], 0.0) for r in rows]
    quiet = [birds_in_chunk(events, start_s) for start_s in np.arange(0.0, 120.0, 5.0)]
    assert 0.35 <= quiet.count("nocall") / len(quiet) <= 0.6
