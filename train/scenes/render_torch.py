"""Scenes made on a GPU, a batch at once: the twin of `train.scenes.drafts.Renderer`.

On a GPU a small net learns faster than several cores make its scenes. So the workers only decide
what sounds (`Draft`), and this makes it: what recordings and backgrounds hold lies on the device
once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from train.clips.recordings import Noise, Recording
from train.scenes.beds import coloured_noise
from train.scenes.drafts import FADE_SAMPLES, Draft
from train.scenes.levels import BLOCK_SAMPLES, CEILING, EMPHASIS, LOUD_FLOOR, LOUD_QUANTILE
from train.scenes.vary import CORNERS, ECHO_SAMPLES, echoes, response_db

_FULL_SCALE = 32767.0
_TAPS = 8
_PHASES = 1024
"""Places between two samples at which the interpolation is known."""
_BED = ("level", "colour", "begin", "gain")
_PART = ("scene", "number", "own", "start", "gain")
_LAYER = (
    *("scene", "recording", "begin", "size", "own_noise", "speed", "far_db", "echo", "echo_gain"),
    *("faded", "sounding_from", "sounding_to", "gain", "place"),
)
_CORNERS = tuple(f"corner_{number}" for number in range(CORNERS))


class DraftTable(NamedTuple):
    """Drafts of one length as numbers, which travel to a GPU at once."""

    length: int
    beds: Tensor  # float64 [scenes, columns], as the other two
    parts: Tensor
    layers: Tensor


def table_of(drafts: Sequence[Draft]) -> DraftTable:
    """The drafts of a batch of scenes, all of one length."""
    beds = [
        (one.bed.level, one.bed.colour, one.bed.colour_begin, one.bed.colour_gain) for one in drafts
    ]
    parts = [
        (scene, part.number, part.own, part.start, part.gain)
        for scene, one in enumerate(drafts)
        for part in one.bed.parts
    ]
    layers = [
        (
            *(scene, layer.recording, layer.begin, layer.size, layer.own_noise),
            *(layer.variation.speed, layer.variation.far_db),
            *(layer.variation.echo, layer.variation.echo_gain),
            *(layer.faded, *layer.sounding, layer.gain, layer.place),
            *(layer.variation.corners_db or [0.0] * CORNERS),
        )
        for scene, one in enumerate(drafts)
        for layer in one.layers
    ]
    return DraftTable(
        drafts[0].bed.length,
        torch.tensor(beds, dtype=torch.float64),
        torch.tensor(parts, dtype=torch.float64).reshape(-1, len(_PART)),
        torch.tensor(layers, dtype=torch.float64).reshape(-1, len(_LAYER) + CORNERS),
    )


class TorchRenderer:
    """Makes batches of scenes of one length.

    Recordings are kept at twice the sample rate, so that eight taps play them at any speed. The two
    renderers differ by rounding, and where something is played faster: what was just below 16 kHz
    is folded back here, and silent there.
    """

    def __init__(
        self, recordings: Sequence[Recording], noise: Sequence[Noise], device: torch.device
    ) -> None:
        self._device = device
        self._recordings = _Shelf(
            [(_doubled(one.samples, device), _doubled(one.calls, device)) for one in recordings],
            device,
        )
        self._counts = torch.tensor([len(one.samples) for one in recordings], device=device)
        self._noise = _Shelf([(_on(one.samples, device),) for one in noise], device)
        self._noise_counts = torch.tensor([len(one.samples) for one in noise], device=device)
        self._coloured = torch.from_numpy(np.stack(coloured_noise())).to(device)
        self._taps = _interpolation().to(device)
        self._tails: dict[int, Tensor] = {}
        self._corners: dict[int, Tensor] = {}

    @staticmethod
    def bytes_of(recordings: Sequence[Recording], noise: Sequence[Noise]) -> int:
        """What they take on the device: recordings twice, with and without their own noise."""
        recorded = 2 * 2 * sum(len(one.samples) for one in recordings)
        return 2 * (recorded + sum(len(one.samples) for one in noise))

    @torch.no_grad()
    def render(self, table: DraftTable) -> Tensor:
        """[scenes, samples], never above full scale."""
        mix = self._beds(table)
        bed_level = _rms(_emphasised(mix)).clamp(min=1e-9)
        sizes = table.layers[:, _LAYER.index("size")].long().tolist()
        # Of like size: within a group no piece is twice as long as another.
        for bits in sorted({size.bit_length() for size in sizes}):
            chosen = [size.bit_length() == bits for size in sizes]
            layers = _Rows((*_LAYER, *_CORNERS), table.layers[chosen], self._device)
            self._add(mix, bed_level, layers)
        peak = mix.abs().amax(dim=1, keepdim=True)
        return mix * torch.where(peak > CEILING, CEILING / peak.clamp(min=1e-9), 1.0)

    def _beds(self, table: DraftTable) -> Tensor:
        beds = _Rows(_BED, table.beds, self._device)
        time = torch.arange(table.length, device=self._device)
        mix = self._coloured[beds.whole("colour"), beds.whole("begin") + time] * beds.real("gain")
        for own in (False, True):
            chosen = table.parts[table.parts[:, _PART.index("own")] == own]
            if len(chosen):
                parts = _Rows(_PART, chosen, self._device)
                mix.index_add_(0, parts.whole("scene").squeeze(1), self._parts(parts, time, own))
        return mix * (beds.real("level") / _rms(mix).clamp(min=1e-9))

    def _parts(self, parts: _Rows, time: Tensor, own: bool) -> Tensor:
        """[parts, samples]."""
        numbers, place = parts.whole("number"), parts.whole("start") + time
        if own:
            # At twice the rate every other sample is what was recorded.
            both = self._recordings.at(numbers, 2 * (place % self._counts[numbers])).float()
            samples = both[..., 0] - both[..., 1]
        else:
            samples = self._noise.at(numbers, place % self._noise_counts[numbers])[..., 0].float()
        return samples * (parts.real("gain") / _rms(samples).clamp(min=1.0))

    def _add(self, mix: Tensor, bed_level: Tensor, layers: _Rows) -> None:
        """Lay pieces of like size over their scenes."""
        scene, size = layers.whole("scene"), layers.whole("size")
        time = torch.arange(layers.most("size"), device=self._device)
        samples = self._filtered(self._pieces(layers, time), layers)
        samples = samples * self._fades(layers, time)
        level = _loud_level(samples, layers)
        samples *= layers.real("gain") * bed_level[scene.squeeze(1)] / level
        place = layers.whole("place") + time
        inside = (place >= 0) & (place < mix.shape[1]) & (time < size)
        places = scene * mix.shape[1] + place.clamp(0, mix.shape[1] - 1)
        mix.view(-1).index_add_(0, places.reshape(-1), (samples * inside).reshape(-1))

    def _pieces(self, layers: _Rows, time: Tensor) -> Tensor:
        """[layers, samples] of the recordings, each at its speed, before anything else."""
        numbers, played = layers.whole("recording"), layers.exact("speed") * time
        heard = layers.exact("begin") + played
        inside = (played < layers.whole("size")) & (heard >= 0)
        inside &= heard <= self._counts[numbers] - 1
        doubled = 2.0 * heard
        first = doubled.floor()
        weights = self._taps[((doubled - first) * _PHASES).long()]
        windows = self._recordings.windows(numbers, first.long() - (_TAPS // 2 - 1)).float()
        both = (windows * weights.unsqueeze(3)).sum(dim=2)
        out = torch.lerp(both[..., 1], both[..., 0], layers.real("own_noise"))
        return torch.where(inside, out, 0.0) / _FULL_SCALE

    def _filtered(self, samples: Tensor, layers: _Rows) -> Tensor:
        """As `train.scenes.vary.varied` filters: a response, and an echo."""
        length = samples.shape[1]
        size = 1 << (length + ECHO_SAMPLES - 1).bit_length()
        falling = torch.linspace(0.0, 1.0, size // 2 + 1, device=self._device)
        gain_db = layers.corners() @ self._corner_lines(size) - layers.real("far_db") * falling
        echo = layers.whole("echo").squeeze(1).clamp(min=0)
        response = 1.0 + layers.real("echo_gain") * self._tails_of(size)[echo]
        response *= (gain_db * (math.log(10.0) / 20.0)).exp()
        filtered: Tensor = torch.fft.irfft(torch.fft.rfft(samples, size) * response, size)
        return filtered[:, :length]

    def _corner_lines(self, size: int) -> Tensor:
        """[corners, bins]: what each corner adds to the response."""
        if size not in self._corners:
            lines = [response_db(size // 2 + 1, one, 0.0) for one in np.eye(CORNERS).tolist()]
            self._corners[size] = torch.tensor(np.stack(lines), device=self._device).float()
        return self._corners[size]

    def _tails_of(self, size: int) -> Tensor:
        """[echoes, bins]."""
        if size not in self._tails:
            self._tails[size] = torch.fft.rfft(self._echoes, size)
        return self._tails[size]

    @cached_property
    def _echoes(self) -> Tensor:
        return torch.from_numpy(np.stack(echoes())).to(self._device)

    def _fades(self, layers: _Rows, time: Tensor) -> Tensor:
        """[layers, samples]: 1, but at the ends of what is faded, and 0 beyond the end."""
        size = layers.whole("size")
        edge = torch.minimum(time, size - 1 - time)
        ramp = torch.clamp(size // 2, max=FADE_SAMPLES)
        faded = (edge / (ramp - 1).clamp(min=1)).clamp(0.0, 1.0)
        return torch.where(layers.whole("faded") == 1, faded, (edge >= 0).float())


class _Rows:
    """Some rows of a table on the device, column by column, each [rows, 1]."""

    def __init__(self, names: Sequence[str], rows: Tensor, device: torch.device) -> None:
        self._place = {name: place for place, name in enumerate(names)}
        self._rows = rows
        self._exact = rows.to(device)
        self._real = self._exact.float()
        self._whole = self._exact.long()

    def exact(self, name: str) -> Tensor:
        """float64."""
        return self._column(self._exact, name)

    def real(self, name: str) -> Tensor:
        """float32."""
        return self._column(self._real, name)

    def whole(self, name: str) -> Tensor:
        """int64."""
        return self._column(self._whole, name)

    def most(self, name: str) -> int:
        """The largest value, without asking the device."""
        return int(self._rows[:, self._place[name]].max())

    def corners(self) -> Tensor:
        """float32 [rows, corners]."""
        first = self._place[_CORNERS[0]]
        return self._real[:, first : first + CORNERS]

    def _column(self, rows: Tensor, name: str) -> Tensor:
        place = self._place[name]
        return rows[:, place : place + 1]


class _Shelf:
    """Sounds of one or more channels and any lengths, one after the other on the device, with
    silence between them."""

    def __init__(self, sounds: Sequence[tuple[Tensor, ...]], device: torch.device) -> None:
        pieces = [torch.stack(one, dim=1) for one in sounds]
        lengths = torch.tensor([len(one) + _TAPS for one in pieces], device=device)
        self._last = lengths - _TAPS - 1
        self._first = lengths.cumsum(dim=0) - lengths + _TAPS
        channels = pieces[0].shape[1] if pieces else 1
        silence = torch.zeros(_TAPS, channels, dtype=torch.int16, device=device)
        self._flat = torch.cat([silence, *(part for one in pieces for part in (one, silence))])

    def at(self, numbers: Tensor, places: Tensor) -> Tensor:
        """int16 [rows, places, channels] of sound numbers[row] (a column); places inside it."""
        return self._flat[self._first[numbers] + places]

    def windows(self, numbers: Tensor, places: Tensor) -> Tensor:
        """int16 [rows, places, _TAPS, channels]: the samples from each place on; places outside the
        sound, which nobody may use, give those at its ends."""
        count, channels = self._flat.shape
        windows = self._flat.as_strided((count - _TAPS + 1, _TAPS * channels), (channels, 1))
        inside = torch.minimum(places.clamp(min=-_TAPS), self._last[numbers])
        chosen = windows[self._first[numbers] + inside]
        return chosen.reshape(*chosen.shape[:2], _TAPS, channels)


def _on(samples: NDArray[np.int16], device: torch.device) -> Tensor:
    # A copy: what a cache keeps on disk may be read only.
    return torch.from_numpy(samples.copy()).to(device)


def _doubled(samples: NDArray[np.int16], device: torch.device) -> Tensor:
    """[n] -> int16 [2 n]: every other sample is one that was there, the rest lie between them."""
    recorded = _on(samples, device)
    count = len(recorded)
    size = 1 << (count + ECHO_SAMPLES).bit_length()
    spectrum = torch.fft.rfft(recorded.float(), size)
    turn = torch.arange(len(spectrum), device=device) * (math.pi / size)
    shifted = torch.fft.irfft(spectrum * torch.polar(torch.ones_like(turn), turn), size)[:count]
    limits = torch.iinfo(torch.int16)
    between = shifted.round().clamp(limits.min, limits.max).to(torch.int16)
    return torch.stack((recorded, between), dim=1).reshape(-1)


def _interpolation() -> Tensor:
    """[phases, taps]: a Kaiser-windowed sinc for sound that is silent in the upper half."""
    phases = np.arange(_PHASES) / _PHASES
    distance = phases - (np.arange(_TAPS) - _TAPS // 2 + 1)[:, None]
    window = np.i0(7.0 * np.sqrt(np.maximum(0.0, 1.0 - (distance / (_TAPS / 2)) ** 2))) / np.i0(7.0)
    weights = np.sinc(distance) * window
    return torch.from_numpy((weights / weights.sum(axis=0)).T.copy()).float()


def _loud_level(samples: Tensor, layers: _Rows) -> Tensor:
    """[layers, 1], as `train.scenes.levels.loud_level` of what sounds in each."""
    start, stop = layers.whole("sounding_from"), layers.whole("sounding_to")
    place = start + torch.arange(samples.shape[1], device=samples.device)
    power = _emphasised(samples.gather(1, place.clamp(max=samples.shape[1] - 1))).square()
    count = (stop - start - 1).clamp(min=0)
    inside = torch.arange(power.shape[1], device=samples.device) < count
    level = ((power * inside).sum(dim=1, keepdim=True) / count.clamp(min=1)).sqrt()
    blocks = power.shape[1] // BLOCK_SAMPLES
    if blocks:
        each = power[:, : blocks * BLOCK_SAMPLES].reshape(len(power), blocks, -1).mean(dim=2).sqrt()
        number = count // BLOCK_SAMPLES
        beyond = torch.arange(blocks, device=samples.device) >= number
        ordered = each.masked_fill(beyond, math.inf).sort(dim=1).values
        last = (number - 1).clamp(min=0)
        rank = LOUD_QUANTILE * last
        low = rank.floor().long()
        under, over = ordered.gather(1, low), ordered.gather(1, torch.minimum(low + 1, last))
        loud = under + (over - under) * (rank - low)
        loudest = each.masked_fill(beyond, 0.0).amax(dim=1, keepdim=True)
        loud = torch.maximum(loud, LOUD_FLOOR * loudest)
        level = torch.where(number > 0, loud, level)
    return level.clamp(min=1e-6)


def _emphasised(samples: Tensor) -> Tensor:
    return samples[:, 1:] - EMPHASIS * samples[:, :-1]


def _rms(samples: Tensor) -> Tensor:
    """[rows, 1]."""
    return samples.square().mean(dim=1, keepdim=True).sqrt()
