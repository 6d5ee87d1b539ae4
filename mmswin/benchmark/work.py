"""What is timed: a piece of work, and one repetition of it by a model."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmswin.backbones.swin import VARIANTS

MODES = ('inference', 'training')
PRECISIONS = ('float32', 'bfloat16')
# Sizes that a detector meets with multi-scale images, one after the other.
MIXED = ('1x800x1344', '1x640x1088', '1x1344x800', '1x480x640', '1x704x1216')
_SIZE = re.compile(r'(\d+)x(\d+)x(\d+)')


def parse_size(text: str) -> tuple[int, int, int]:
    """``'2x800x1344'`` to (images, height, width), the sides in pixels.

    Raises:
        ValueError: Another form, or a zero.
    """
    match = _SIZE.fullmatch(text)
    size = tuple(map(int, match.groups())) if match else ()
    if not size or 0 in size:
        raise ValueError(f"size {text!r} is not IMAGESxHEIGHTxWIDTH, each 1 or more, such as '2x800x1344'")
    return size


@dataclass(frozen=True)
class Work:
    """One thing to time.

    ``mode`` is ``'inference'`` (forward without gradients) or ``'training'`` (forward and backward of a fixed weighted
    sum of the outputs, gradients to the parameters, no optimizer step). ``precision`` is ``'float32'`` or
    ``'bfloat16'``, the latter by autocast. ``sizes`` are worked on one after the other in a repetition.

    Raises:
        ValueError: Unknown variant, mode or precision, no valid sizes, or a number out of its range.
    """

    arch: str = 'tiny'
    window_size: int = 7
    mode: str = 'inference'
    precision: str = 'float32'
    sizes: tuple[str, ...] = ('2x800x1344',)
    device: str = 'cpu'
    drop_path_rate: float = 0.0

    def __post_init__(self) -> None:
        for name, value, known in (
            ('arch', self.arch, VARIANTS),
            ('mode', self.mode, MODES),
            ('precision', self.precision, PRECISIONS),
        ):
            if value not in known:
                raise ValueError(f'{name} {value!r} is unknown; choose one of {", ".join(map(repr, known))}')
        if self.window_size < 1:
            raise ValueError(f'--window-size {self.window_size}: give 1 or more')
        if not 0 <= self.drop_path_rate < 1:
            raise ValueError(f'--drop-path-rate {self.drop_path_rate:g}: give 0 or more, and less than 1')
        if not self.sizes:
            raise ValueError("no sizes given; give at least one, such as '2x800x1344'")
        for size in self.sizes:
            parse_size(size)

    @property
    def label(self) -> str:
        """A few words for tables."""
        sizes = self.sizes[0] if len(self.sizes) == 1 else f'{len(self.sizes)} sizes in turn'
        window = f' w{self.window_size}' if self.window_size != 7 else ''
        drop_path = f' drop path {self.drop_path_rate:g}' if self.drop_path_rate else ''
        return f'Swin-{self.arch[0].upper()}{window} {sizes} {self.precision} {self.mode}{drop_path}'

    def as_dict(self) -> dict[str, Any]:
        """Plain values, from which :meth:`from_dict` makes it again."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Work:
        """The inverse of :meth:`as_dict`."""
        return cls(**{**values, 'sizes': tuple(values['sizes'])})


def _inputs(work: Work) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = []
    for size in work.sizes:
        count, height, width = parse_size(size)
        images.append(torch.randn(count, 3, height, width, generator=generator).to(work.device))
    return images


def autocast(work: Work) -> AbstractContextManager:
    if work.precision == 'float32':
        return nullcontext()
    return torch.autocast(torch.device(work.device).type, dtype=torch.bfloat16)


class Repetition:
    """The work, ready to be done again and again by one model."""

    def __init__(self, model: nn.Module, work: Work) -> None:
        self.model = model
        self.work = work
        self.images = _inputs(work)
        self._weights: dict[int, list[Tensor]] = {}
        # Not model.train(training): mmdet's returns None, and ours must run in the same mode.
        nn.Module.train(model, work.mode == 'training')

    def __call__(self) -> None:
        """Do the work once; the device may still be busy afterwards."""
        if self.work.mode == 'inference':
            with torch.inference_mode(), autocast(self.work):
                for image in self.images:
                    self.model(image)
            return
        for number, image in enumerate(self.images):
            self.model.zero_grad(set_to_none=True)
            with autocast(self.work):
                maps = self.model(image)
            self._loss(number, maps).backward()

    def _loss(self, number: int, maps: Sequence[Tensor]) -> Tensor:
        """A fixed weighted sum, so that no output's gradient is trivial."""
        if number not in self._weights:
            generator = torch.Generator().manual_seed(1)
            self._weights[number] = [torch.randn(m.shape, generator=generator).to(m.device) for m in maps]
        return sum((m.float() * weight).sum() for m, weight in zip(maps, self._weights[number]))


def synchronize(device: str) -> None:
    """Wait until the device has done all it was given."""
    if torch.device(device).type == 'cuda':
        torch.cuda.synchronize(device)


def seconds(repetition: Callable[[], None], device: str) -> float:
    """Wall time of one repetition, the device's share included."""
    synchronize(device)
    start = time.perf_counter()
    repetition()
    synchronize(device)
    return time.perf_counter() - start
