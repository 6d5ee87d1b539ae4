"""Images a second of whole training and test runs, with mmswin's backbone and with mmdet's or mmseg's in its place."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config, ConfigDict

import mmswin
from mmswin.benchmark import agreement, recipes
from mmswin.benchmark.cpu import ALLOCATORS, SideFailed, ask
from mmswin.benchmark.machine import describe
from mmswin.benchmark.recipes import OURS, Options
from mmswin.benchmark.timing import Summary, interleave, ratio
from mmswin.engine.precision import has_accelerator
from mmswin.errors import RunError
from mmswin.ops.window_attention import AUTO, BACKENDS

# Parts of the wall time; the first is the sum of the next two.
SHARES = ('backbone', 'forward', 'backward', 'waiting')


@dataclass
class Turn:
    """What one process measured; times in seconds for all ``images`` together.

    Args:
        images: Images of the timed iterations.
        seconds: Wall time of these iterations, loading and everything else included.
        waiting: Part of it in which the run waited for the data loader.
        forward: Part of it in the backbone's forward pass.
        backward: Part of it in the backbone's backward pass.
        peak_bytes: Largest memory of the process (CPU) or of its tensors (GPU).
        loading: Seconds in which one process loads and transforms one image, measured apart.
        shapes: What the backbone was given in each iteration, such as ``1x3x800x1088``.
    """

    images: int
    seconds: float
    waiting: float
    forward: float
    backward: float
    peak_bytes: int | None
    loading: float
    shapes: list[str]

    @property
    def per_image(self) -> float:
        """Seconds an image."""
        return self.seconds / self.images


@dataclass
class RunResult:
    """All sides' turns at one recipe and mode.

    Args:
        recipe: Name of the config file.
        mode: ``'training'`` or ``'testing'``.
        allocator: One of :data:`mmswin.benchmark.cpu.ALLOCATORS`.
        library: The side whose backbone class is the library's own.
        sides: Turns by side.
    """

    recipe: str
    mode: str
    allocator: str
    library: str
    sides: dict[str, list[Turn]] = field(default_factory=dict)

    def rate(self, side: str) -> Summary:
        """Images a second."""
        return Summary.of([1 / turn.per_image for turn in self.sides[side]])

    def ratio(self, side: str) -> Summary:
        """How many times faster a side is than the library's, round by round."""
        return ratio(*([turn.per_image for turn in self.sides[name]] for name in (self.library, side)))

    def share(self, side: str, part: str) -> Summary:
        """Part of the wall time that one of :data:`SHARES` takes."""
        names = ('forward', 'backward') if part == 'backbone' else (part,)
        return Summary.of([sum(getattr(turn, name) for name in names) / turn.seconds for turn in self.sides[side]])

    def as_dict(self) -> dict[str, Any]:
        """Plain values, with what follows from the turns."""
        sides = {}
        for side, turns in self.sides.items():
            sides[side] = {
                'turns': [asdict(turn) for turn in turns],
                'images_per_second': asdict(self.rate(side)),
                'times_faster': asdict(self.ratio(side)),
                'share': {part: asdict(self.share(side, part)) for part in SHARES},
            }
        return asdict(self) | {'sides': sides}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunResult:
        """The inverse of :meth:`as_dict`."""
        sides = {side: [Turn(**turn) for turn in found['turns']] for side, found in values['sides'].items()}
        return cls(**{**values, 'sides': sides})


class Settings(NamedTuple):
    """How to measure: turns of every side, torch's threads, allocators, and what a turn runs."""

    rounds: int = 3
    threads: int = 1
    allocators: tuple[str, ...] = ('default',)
    options: Options = Options()


def run(
    configs: Sequence[Path],
    modes: Sequence[str],
    backends: Sequence[str],
    settings: Settings,
    data_root: Path | None = None,
    data_folder: Path = Path('work_dirs/benchmark_data'),
    progress: Callable[[str], None] = lambda line: None,
    done: Callable[[dict[str, Any], RunResult], None] = lambda values, result: None,
) -> dict[str, Any]:
    """Measure and return plain values for a JSON file.

    Args:
        configs: Recipes with mmswin's Swin.
        modes: ``'training'``, ``'testing'``.
        backends: mmswin's attention backends to take part; the library's own class always does.
        settings: How to measure.
        data_root: Data in the recipe's layout, for a single config; None for generated images.
        data_folder: Where generated data is kept for the next time.
        progress: Told what goes on.
        done: Given all values so far, and each result as it comes.

    Raises:
        RunError: Something that the user can mend, found before any timing.
        SideFailed: A run died, or two sides do not compute the same.
    """
    cfgs = _checked(configs, modes, backends, settings, data_root)
    device = 'cuda' if has_accelerator() else 'cpu'
    values = {
        'mmswin': mmswin.__version__,
        'date': datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        'machine': describe(device),
        'settings': settings._asdict() | {'options': settings.options._asdict()},
        'data': str(data_root) if data_root else 'generated',
        'results': [],
    }
    for path, cfg in zip(configs, cfgs):
        root = data_root or recipes.generated_data(cfg, data_folder, settings.options, progress)
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            files = recipes.write_weights(cfg, place)
            for mode in modes:
                runs = _write_configs(cfg, backends, mode, settings.options, root, place)
                for allocator in settings.allocators:
                    result = RunResult(path.stem, mode, allocator, cfg.default_scope)
                    progress(f'{path.stem}, {mode}, allocator {allocator}')
                    _measure(result, runs, files, settings, place, progress)
                    values['results'].append(result.as_dict())
                    done(values, result)
    return values


def _checked(
    configs: Sequence[Path], modes: Sequence[str], backends: Sequence[str], settings: Settings, data_root: Path | None
) -> list[Config]:
    settings.options.check()
    if settings.rounds < 1:
        raise RunError(f'--rounds {settings.rounds}: give 1 or more')
    for what, names, known in (
        ('mode', modes, recipes.MODES),
        ('backend', backends, (AUTO, *BACKENDS)),
        ('allocator', settings.allocators, tuple(ALLOCATORS)),
    ):
        for name in names:
            if name not in known:
                raise RunError(f'{what} {name!r} is unknown; choose from {", ".join(known)}')
    if data_root is not None and len(configs) != 1:
        raise RunError('--data-root is for one config: name it with --configs')
    if data_root is not None and not data_root.is_dir():
        raise RunError(f'--data-root {data_root} is no directory')
    return [recipes.read(path) for path in configs]


def _write_configs(
    cfg: Config, backends: Sequence[str], mode: str, options: Options, data_root: Path, folder: Path
) -> dict[str, Path]:
    """A config file for each side, the library's own first."""
    written = {}
    for side in (cfg.default_scope, *(OURS + name for name in backends)):
        prepared = recipes.prepare(cfg, side, mode, options, data_root)
        hook = ConfigDict(
            type='mmswin.MeasureHook',
            result=str(folder / 'result.json'),
            observation=str(folder / f'{side}.observation'),
            warm_up=options.warm_up,
            iterations=options.iterations,
        )
        prepared.custom_hooks = [*(prepared.get('custom_hooks') or []), hook]
        written[side] = folder / f'{side}_{mode}.py'
        prepared.dump(written[side])
    return written


def _measure(
    result: RunResult,
    runs: Mapping[str, Path],
    files: Mapping[str, Path],
    settings: Settings,
    folder: Path,
    progress: Callable[[str], None],
) -> None:
    """Let all sides take their turns. What the first, untimed iterations compute must agree, in every turn."""
    found: dict[str, list[Turn]] = {side: [] for side in runs}
    right: dict[str, Any] = {}

    def turn(side: str) -> float:
        checkpoint = files[side if side == result.library else 'mmswin']
        order = {'config': str(runs[side]), 'checkpoint': str(checkpoint), 'work_dir': str(folder / 'work_dir'),
                 'mode': result.mode, 'threads': settings.threads}  # fmt: skip
        name = f'{result.recipe} with the backbone of {side}, {result.mode}'
        figures = ask('mmswin.benchmark.recipe_process', order, name, folder, ALLOCATORS[result.allocator])
        found[side].append(Turn(**figures))
        seen = agreement.load(str(folder / f'{side}.observation'))
        if not right:
            right.update(seen)  # the library's own side comes first
        precision = 'mixed' if _is_mixed(runs[side], result.mode) else 'float32'
        reason = agreement.disagreement(seen, right, precision)
        if reason:
            raise SideFailed(f'{name} does not compute what it does with that of {result.library}: {reason}')
        progress(f'{side}: {found[side][-1].per_image:.3g} s an image')
        return found[side][-1].per_image

    interleave({side: (lambda side=side: turn(side)) for side in runs}, settings.rounds, progress)
    result.sides = found


def _is_mixed(config: Path, mode: str) -> bool:
    if mode == 'testing' or not has_accelerator():
        return False
    return Config.fromfile(config).optim_wrapper.get('type') == 'AmpOptimWrapper'
