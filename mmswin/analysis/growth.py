"""How time and memory of a whole backbone grow with the image, measured; the paper promises: as its pixels.

Every size is measured in a process of its own, so that the allocator keeps nothing from another size. Images are whole
windows in every stage: padding, which weighs more on small images, would blur the law.
"""

from __future__ import annotations

import multiprocessing
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from math import log, prod
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict

from mmswin.analysis.protocol import build_on_meta
from mmswin.analysis.scaling import fitted_exponent
from mmswin.backbones import SwinTransformer
from mmswin.benchmark import gpu, machine
from mmswin.benchmark.memory import saved_in_training
from mmswin.benchmark.work import MODES, Repetition, Work, seconds
from mmswin.environment.machine import free_memory, usable_cores
from mmswin.errors import RunError
from mmswin.registry import MODELS

# Megapixels of the sizes, roughly.
SIZES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
# What is measured, and its unit.
QUANTITIES = {'seconds': 'time', 'memory': 'peak memory', 'saved': 'kept for backward'}
# A size of which this share of the memory is expected to be needed is not tried.
SHARE = 0.9


@dataclass(frozen=True)
class Order:
    """What a process measures: a backbone's config, one image, a mode of :data:`mmswin.benchmark.work.MODES`."""

    backbone: dict[str, Any]
    height: int
    width: int
    mode: str
    device: str = 'cpu'
    precision: str = 'float32'
    threads: int = 1
    repetitions: int = 3

    @property
    def pixels(self) -> int:
        return self.height * self.width


@dataclass
class Point:
    """What was measured on one image.

    Attributes:
        height: Rows of pixels.
        width: Columns of pixels.
        seconds: Time of a pass (with training: forward and backward), one entry per repetition; on a GPU that of the
            kernels, because launching them costs the same for any image.
        wall: Time until a pass was done; on a CPU the same as ``seconds``.
        memory: Bytes at the peak beyond what is there before the image: resident memory of the process, or what
            torch allocated on the GPU.
        saved: Bytes that autograd keeps for backward; None in inference.
        before: Bytes that are there before the image.
    """

    height: int
    width: int
    seconds: list[float]
    wall: list[float]
    memory: int
    saved: int | None
    before: int

    @property
    def pixels(self) -> int:
        return self.height * self.width

    def value(self, quantity: str) -> float:
        """One of :data:`QUANTITIES`; of the seconds the median."""
        return statistics.median(self.seconds) if quantity == 'seconds' else getattr(self, quantity)


@dataclass
class Growth:
    """Points of each mode, in ascending order of pixels, and why a mode has no larger ones."""

    step: tuple[int, int]
    points: dict[str, list[Point]] = field(default_factory=dict)
    ends: dict[str, str] = field(default_factory=dict)

    def curves(self) -> dict[tuple[str, str], tuple[list[int], list[float]]]:
        """(mode, quantity) to pixels and values."""
        return {
            (mode, quantity): ([point.pixels for point in points], [point.value(quantity) for point in points])
            for mode, points in self.points.items()
            for quantity in QUANTITIES
            if points and points[0].value(quantity) is not None
        }

    def exponents(self) -> dict[tuple[str, str], float]:
        """The power of the pixels with which each curve of two points and more grows, fitted to all its points."""
        return {key: fitted_exponent(*curve) for key, curve in self.curves().items() if len(curve[0]) > 1}

    def as_dict(self) -> dict[str, Any]:
        """For ``json.dump``."""
        exponents: dict[str, dict[str, float]] = {}
        for (mode, quantity), value in self.exponents().items():
            exponents.setdefault(mode, {})[quantity] = value
        points = {mode: [asdict(point) for point in points] for mode, points in self.points.items()}
        return {'step': self.step, 'points': points, 'ends': self.ends, 'exponents': exponents}


def backbone_of(cfg: Config) -> tuple[dict[str, Any], tuple[int, int]]:
    """The config of a model's backbone, without weights to load, and the step of sizes that need no padding.

    The step is in pixels, rows and columns: a window of the last stage; 32 for a backbone that is not this package's
    Swin.
    """
    model = build_on_meta(cfg).backbone
    backbone = ConfigDict(cfg.model.backbone).to_dict()
    backbone.pop('init_cfg', None)
    backbone.pop('pretrained', None)
    scope = cfg.get('default_scope')
    if '.' not in backbone['type'] and scope:
        backbone['type'] = f'{scope}.{backbone["type"]}'
    if not isinstance(model, SwinTransformer):
        return backbone, (32, 32)
    merges = prod(layer.downsample.stride for layer in model.layers if layer.downsample is not None)
    return backbone, tuple(
        side * patch * merges for side, patch in zip(model.window_size, model.patch_embed.patch_size)
    )


def check_device(device: str) -> str:
    """The device as it is. Raises RunError when it is not there or cannot be measured."""
    machine.check_device(device)
    if torch.device(device).type not in ('cpu', 'cuda'):
        raise RunError(f'--device {device}: memory can be measured on cpu and cuda')
    return device


def check_sizes(megapixels: Sequence[float]) -> Sequence[float]:
    """The sizes as they are. Raises RunError for one that is not positive."""
    for size in megapixels:
        if not 0 < size < 1e6:
            raise RunError(f'--megapixels {size:g}: expected a positive number, such as 0.25 or 16')
    return megapixels


def image_sizes(step: tuple[int, int], megapixels: Sequence[float]) -> list[tuple[int, int]]:
    """For each of ``megapixels`` the nearest image of whole steps, (height, width), up to twice as wide as high."""
    found = set()
    for wanted in megapixels:
        most = int((2e6 * wanted) ** 0.5 / min(step)) + 2
        shapes = [(rows * step[0], columns * step[1]) for rows in range(1, most) for columns in range(1, 2 * most)]
        shapes = [shape for shape in shapes if shape[0] <= shape[1] <= 2 * shape[0]] or [(step[0], step[1])]
        found.add(min(shapes, key=lambda shape: (abs(log(prod(shape) / 1e6 / wanted)), shape[1] / shape[0])))
    return sorted(found, key=prod)


def measure(order: Order) -> Point:
    """Build the backbone and measure it on one image, in this process."""
    torch.set_num_threads(order.threads)
    torch.manual_seed(0)
    model = MODELS.build(order.backbone).to(order.device)
    # The first pass loads libraries and makes their work space, which is no cost of the image.
    _repetition(model, order, 64, 64)()
    _reset_peak(order.device)
    before = _memory(order.device, peak=False)
    repetition = _repetition(model, order, order.height, order.width)
    repetition()
    memory = _memory(order.device, peak=True) - before
    wall = timed = [seconds(repetition, order.device) for _ in range(order.repetitions)]
    if torch.device(order.device).type == 'cuda':
        timed = [gpu.kernel_time(repetition)[0] for _ in range(order.repetitions)]
    model.zero_grad(set_to_none=True)
    return Point(order.height, order.width, timed, wall, memory, saved_in_training(repetition), before)


def _repetition(model: torch.nn.Module, order: Order, height: int, width: int) -> Repetition:
    return Repetition(
        model, Work(mode=order.mode, precision=order.precision, sizes=(f'1x{height}x{width}',), device=order.device)
    )


def _reset_peak(device: str) -> None:
    if torch.device(device).type == 'cuda':
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        return
    # The peak becomes what is resident now. Where that is not permitted it may stay that of start-up, which matters to
    # small images alone.
    with suppress(OSError):
        Path('/proc/self/clear_refs').write_text('5')


def _memory(device: str, peak: bool) -> int:
    """Bytes in use on a GPU, or resident bytes of this process; now, or at the peak."""
    if torch.device(device).type == 'cuda':
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) if peak else torch.cuda.memory_allocated(device)
    name = 'VmHWM:' if peak else 'VmRSS:'
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith(name):
            return 1024 * int(line.split()[1])
    raise RunError(f'this system does not say how much memory a process has ({name[:-1]} in /proc/self/status)')


def in_own_process(order: Order) -> Point:
    """:func:`measure`, in a fresh process.

    Raises:
        MemoryError: The process was killed, or the GPU's memory did not suffice.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context('spawn')) as pool:
        try:
            return pool.submit(measure, order).result()
        except BrokenProcessPool:
            raise MemoryError('the process was killed') from None
        except torch.OutOfMemoryError as error:
            raise MemoryError(str(error).splitlines()[0]) from None
        except RuntimeError as error:
            if "can't allocate memory" in str(error):
                raise MemoryError('the allocator refused') from None
            raise


def available_memory(device: str) -> float:
    """Bytes that a process could still get on a device; infinite where the system does not say."""
    if torch.device(device).type == 'cuda':
        return torch.cuda.mem_get_info(device)[0]
    free = free_memory()
    return float('inf') if free is None else free * 2**30


def measure_growth(
    backbone: dict[str, Any],
    step: tuple[int, int],
    megapixels: Sequence[float] = SIZES,
    modes: Sequence[str] = MODES,
    device: str = 'cpu',
    precision: str = 'float32',
    threads: int | None = None,
    repetitions: int = 3,
    memory: float | None = None,
    run: Callable[[Order], Point] | None = None,
    progress: Callable[[str], None] = lambda line: None,
    done: Callable[[Growth], None] = lambda found: None,
) -> Growth:
    """Measure a backbone over growing images.

    Args:
        backbone: Its config, see :func:`backbone_of`.
        step: Rows and columns of pixels by which images grow.
        megapixels: The sizes, roughly.
        modes: ``'inference'``, ``'training'`` (forward and backward).
        device: Where.
        precision: ``'float32'``, or ``'bfloat16'`` by autocast.
        threads: torch's threads; all cores by default.
        repetitions: Timed passes of each size, after one that is not timed.
        memory: Bytes that may be needed; what is available by default. Sizes that need more are left out.
        run: Measures one size; :func:`in_own_process` by default.
        progress: Gets a line for each size.
        done: Gets all that is known after each size.

    Raises:
        ValueError: Unknown mode or precision.
    """
    found = Growth(step)
    run = run or in_own_process
    threads = usable_cores() if threads is None else threads
    limit = SHARE * available_memory(device) if memory is None else memory
    for mode in modes:
        points = found.points[mode] = []
        for height, width in image_sizes(step, megapixels):
            order = Order(backbone, height, width, mode, device, precision, threads, repetitions)
            Work(mode=mode, precision=precision, sizes=(f'1x{height}x{width}',))  # refuses before any work is lost
            expected = points[-1].before + points[-1].memory * order.pixels / points[-1].pixels if points else 0
            name = f'{height} x {width}'
            if expected > limit:
                found.ends[mode] = (
                    f'{name} would need about {expected / 2**30:.1f} GiB of memory, and '
                    f'{limit / 2**30:.1f} GiB may be used'
                )
            else:
                try:
                    points.append(run(order))
                except MemoryError as error:
                    found.ends[mode] = f'{name} did not fit into memory: {error}'
            if mode in found.ends:
                progress(f'{mode}, {found.ends[mode]}')
                break
            progress(
                f'{mode}, {name}: {1000 * points[-1].value("seconds"):.0f} ms, {points[-1].memory / 2**30:.2f} GiB'
            )
            done(found)
    return found
