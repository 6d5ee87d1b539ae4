"""Whole benchmarks by name: what to do, most important first, and how long each piece is expected to take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mmswin.benchmark.budget import Piece
from mmswin.benchmark.work import MIXED, Work

HEADLINE = ('2x800x1344',)
GPU_PEERS = ('mmdet', 'timm-fused', 'transformers-sdpa', 'torchvision')
TRITON = 'mmswin-triton'
CPU_SIDES = ('mmswin-auto', 'mmdet', 'transformers-sdpa', 'mmdet+compile', 'mmswin-auto+compile')

# Maps of Swin-T's first two stages at the headline's size: batch, height, width, window, shift, heads.
_STAGES = [[2, 200, 336, [7, 7], [3, 3], 3], [2, 100, 168, [7, 7], [3, 3], 6]]
_UNSHIFTED = [[*case[:4], [0, 0], case[5]] for case in _STAGES]
_SMALL = [2, 30, 45, [7, 7], [3, 3], 3]
_OTHER_WINDOWS = [
    [2, 30, 45, [8, 8], [4, 4], 4],
    [2, 30, 45, [12, 12], [6, 6], 6],
    [1, 40, 45, [16, 16], [8, 8], 4],
    [2, 30, 45, [4, 7], [2, 3], 3],
    [2, 3, 4, [7, 7], [3, 3], 3],
]
# 2.4e9 numbers of q, k and v, which 32 bits do not count.
_LARGE = [1, 2903, 2910, [7, 7], [3, 3], 3]


def _work(name: str, seconds: float, sides: Iterable[str], settings: dict[str, Any], **work: Any) -> Piece:
    arguments = {'work': Work(**work).as_dict(), 'sides': list(sides), 'settings': settings}
    return Piece(name, 'work', arguments, seconds)


def gpu(device: str = 'cuda', threads: int = 8) -> list[Piece]:
    """What issue and figures of a GPU need: correctness, kernels, the headline, then other variants, sizes, peers.

    The seconds are guesses: no GPU has run this.
    """
    settings = {'rounds': 5, 'repetitions': 5, 'threads': threads, 'allocators': ['default']}
    amp = dict(precision='bfloat16', device=device)

    def both(name: str, seconds: float, sides: Iterable[str], **work: Any) -> list[Piece]:
        """Inference, then training, which takes half as long again."""
        work = {'sizes': HEADLINE, **amp, **work}
        return [_work(f'{name}, inference', seconds, sides, settings, mode='inference', **work),
                _work(f'{name}, training', 1.5 * seconds, sides, settings, mode='training', **work)]  # fmt: skip

    plain, compiled = (TRITON, 'mmdet'), (TRITON, 'mmdet', f'{TRITON}+compile', 'mmdet+compile')
    kernel = {'device': device, 'dtype': 'bfloat16', 'rounds': 5, 'replays': 10}
    return [
        Piece('ceilings of the device', 'ceilings', {'device': device, 'copied': 2**31, 'side': 8192}, 10),
        Piece('correctness, windows 7x7', 'correctness',
              {'device': device, 'cases': [_SMALL, _STAGES[0]], 'dtypes': ['bfloat16', 'float64']}, 40),
        Piece('kernel alone, stages 1 and 2', 'kernel', kernel | {'cases': _STAGES}, 25),
        Piece('caches of Triton', 'warm', _orders(plain[:1], ('tiny', 'base', 'large'), device, 3, threads), 50),
        *both('Swin-T', 25, (TRITON, *GPU_PEERS)),
        Piece('caches of Inductor', 'warm', _orders(compiled[2:], ('tiny',), device, 4, threads), 90),
        *both('Swin-T compiled', 40, compiled),
        *both('Swin-B', 18, plain, arch='base'),
        *both('Swin-L', 30, plain, arch='large'),
        *both('Swin-S', 15, plain, arch='small'),
        *both('Swin-L, windows 12x12', 35, plain, arch='large', window_size=12),
        Piece('map of more than 2^31 numbers', 'large map',
              {'device': device, 'case': _LARGE, 'dtype': 'bfloat16', 'bands': 3}, 15),
        *both('one image', 10, plain, sizes=('1x800x1344',)),
        *both('16x512x512', 12, plain, sizes=('16x512x512',)),
        *both('64x224x224', 12, plain, sizes=('64x224x224',)),
        *both('mixed sizes', 14, plain, sizes=MIXED),
        _work('drop path 0.2, training', 30, plain, settings,
              mode='training', sizes=HEADLINE, drop_path_rate=0.2, **amp),
        *both('float32', 30, plain, precision='float32'),
        Piece('correctness, other windows', 'correctness',
              {'device': device, 'cases': _OTHER_WINDOWS, 'dtypes': ['bfloat16']}, 45),
        Piece('correctness, float32', 'correctness', {'device': device, 'cases': [_SMALL], 'dtypes': ['float32']}, 15),
        Piece('kernel alone, not shifted', 'kernel', kernel | {'cases': _UNSHIFTED}, 25),
        Piece('caches of Inductor, Swin-B', 'warm', _orders(compiled[2:], ('base',), device, 4, threads), 150),
        *both('Swin-B compiled', 70, compiled, arch='base'),
        *both('mixed sizes compiled', 120, compiled, sizes=MIXED),
        *both('Swin-T, more peers', 20, (TRITON, 'mmswin-sdpa', 'timm', 'transformers-eager')),
        *both('compiled peers', 120, (TRITON, 'timm-fused+compile', 'torchvision+compile')),
    ]  # fmt: skip


def _orders(sides: Iterable[str], archs: Iterable[str], device: str, processes: int, threads: int) -> dict[str, Any]:
    orders = [
        [side, Work(arch, mode=mode, precision='bfloat16', sizes=HEADLINE, device=device).as_dict()]
        for arch in archs
        for side in sides
        for mode in ('training', 'inference')
    ]
    return {'orders': orders, 'processes': processes, 'threads': max(1, threads // processes)}


def cpu(device: str = 'cpu', threads: int = 2) -> list[Piece]:
    """What is wanted of two cores: one image of 800x1344 by Swin-T, under either allocator, all sides in one run.

    The seconds are guesses.
    """
    pieces = []
    for precision, mode, seconds in (('float32', 'inference', 300), ('float32', 'training', 700),
                                     ('bfloat16', 'inference', 300)):  # fmt: skip
        for allocator in ('default', 'tuned'):
            settings = {'rounds': 5, 'repetitions': 3, 'threads': threads, 'allocators': [allocator]}
            pieces.append(_work(f'{precision} {mode}, allocator {allocator}', seconds, CPU_SIDES, settings,
                                mode=mode, precision=precision, sizes=('1x800x1344',), device=device))  # fmt: skip
    return pieces


PRESETS = {'gpu': gpu, 'cpu': cpu}
