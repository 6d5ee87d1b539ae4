"""Time Swin backbones, and whole models on them, next to each other: python benchmarks/run.py [options]; --help explains."""

import argparse
import functools
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import torch  # noqa: E402
from swinbench import cases, gpu, report  # noqa: E402
from swinbench import implementations as known  # noqa: E402
from swinbench.cases import Case  # noqa: E402
from swinbench.worker import Worker, WorkerError  # noqa: E402

from mmswin import atomic  # noqa: E402
from mmswin.cli.parsing import whole  # noqa: E402
from mmswin.errors import RunError, nearest, run_tool  # noqa: E402

# Largest error against the baseline: in float32, and under autocast as a multiple of the baseline's own.
FLOAT32_LIMIT, BFLOAT16_LIMIT = 1e-5, 1.5
SECONDS_OF_GPU = 525.0
say = functools.partial(print, file=sys.stderr, flush=True)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="""\
Time mmswin's backbone next to mmdet's class and other libraries' Swins: the same weights, the same images, each
implementation in a process of its own, in alternating order. An implementation whose maps (in training, and gradients)
are not mmdet's is left out. FILE.json and FILE.md are written after every round.""",
        epilog=f"""\
implementations:
  {', '.join(known.IMPLEMENTATIONS)}
  mmswin takes attn_backend='auto'; NAME{known.COMPILED} runs NAME through torch.compile; openvino is mmswin's backbone, exported
  for the size at hand, onnxruntime the same for any size. --model takes mmdet (for UPerNet: mmseg; in bfloat16 float32, as
  neither has it on a CPU), mmswin, onnxruntime, openvino and openvino-int8, from pixels to objects or logits. What
  `make peers` installs is found with PYTHONPATH=.venv/peers:.venv/export. mmcv-lite will do for mmdet.

examples:
  python benchmarks/run.py --sizes 1x224x224 --rounds 1 --allocators tuned              # a look, in a minute or two
  python benchmarks/run.py --implementations mmswin mmswin-reference --modes training   # next to mmdet
  python benchmarks/run.py --model mask_rcnn --precisions float32 bfloat16 --allocators tuned --sizes 1x800x1344 1x512x512
  python benchmarks/run.py --gpu --out benchmarks/h100.json                             # an NVIDIA GPU, in nine minutes""",
    )
    add = parser.add_argument
    add('--implementations', nargs='+', metavar='NAME', help=f'default, where installed: {", ".join(known.USUAL)}')
    add('--sizes', nargs='+', type=_size, default=[(1, 800, 1344)], metavar='BxHxW', help='default: 1x800x1344')
    for option, choices, default, note in (
        ('--variants', cases.VARIANTS, ['T'], ''),
        ('--modes', cases.MODES, ['inference'], ''),
        ('--precisions', cases.PRECISIONS, ['float32'], '; bfloat16 is autocast'),
        ('--allocators', ('default', 'tuned'), ['default', 'tuned'], ', on a CPU; tuned calls mmswin.tune_cpu() first'),
    ):
        add(option, nargs='+', choices=choices, default=default, help=f'default: {" ".join(default)}{note}')
    add(
        '--model', default='backbone', choices=cases.MODELS, help='the backbone alone (default), or a whole model on it'
    )
    add('--window', type=whole(), default=7, metavar='N', help='tokens along its side (default: 7)')
    add('--wait-policy', default='passive', choices=['passive', 'unset'], help='OMP_WAIT_POLICY (default: passive)')
    add('--threads', type=whole(), default=os.cpu_count(), metavar='N', help='default: all cores')
    add('--rounds', type=whole(), default=5, metavar='N', help='trials of each (default: 5)')
    add('--repetitions', type=whole(), default=1, metavar='N', help='of a trial, after a warm-up (default: 1)')
    add('--device', default='cpu', choices=['cpu', 'cuda'], help='default: cpu')
    add('--gpu', action='store_true', help='what is to be known of an NVIDIA GPU: every attention backend against '
        'reference, values and gradients, then Swin-T, 2x800x1344, bfloat16, both modes; only --out, --overwrite, '
        '--threads and --rounds go with it')  # fmt: skip
    add('--out', type=Path, default=Path('work_dirs/benchmark.json'), metavar='FILE.json',
        help='default: work_dirs/benchmark.json')  # fmt: skip
    add('--overwrite', action='store_true', help='write over existing files')
    args = parser.parse_args()
    if args.gpu:
        free = ('gpu', 'out', 'overwrite', 'threads', 'rounds')
        given = [f'--{k}' for k, value in vars(args).items() if k not in free and value != parser.get_default(k)]
        if given:
            parser.error(f'--gpu brings its own cases: leave out {", ".join(given).replace("_", "-")}')
        vars(args).update(device='cuda', sizes=[(2, 800, 1344)], modes=cases.MODES, precisions=['bfloat16'],
                          repetitions=10, implementations=gpu.HEADLINE)  # fmt: skip
    return args


def _size(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r'[1-9]\d*x[1-9]\d*x[1-9]\d*', text):
        raise argparse.ArgumentTypeError(f"{text!r} is not IMAGESxROWSxCOLUMNS, such as '2x800x1344'")
    return tuple(map(int, text.split('x')))


def check(args: argparse.Namespace) -> None:
    """All that can be known before any work. Raises RunError."""
    for name in args.implementations or ():
        plain = name.removesuffix(known.COMPILED)
        if plain not in known.IMPLEMENTATIONS or (name != plain and plain in known.PROGRAMS):
            raise RunError(f'--implementations {name}: unknown{nearest(plain, known.IMPLEMENTATIONS)}; choose from '
                           f'{", ".join(known.IMPLEMENTATIONS)}, each but {" and ".join(known.PROGRAMS)} also with +compile')  # fmt: skip
        if args.model != 'backbone' and name not in known.WHOLE:
            raise RunError(f'--implementations {name}: whole models are of {", ".join(known.WHOLE)}')
        if not args.gpu and known.missing(name):
            raise RunError(f'--implementations {name}: {known.missing(name)} is not installed; `make peers` installs '
                           'timm, transformers and torchvision, and openvino and onnxruntime, found with '
                           'PYTHONPATH=.venv/peers:.venv/export')  # fmt: skip
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise RunError(f'{"--gpu" if args.gpu else "--device cuda"}: torch {torch.__version__} finds no CUDA device; '
                       'without a GPU, time a CPU with --device cpu')  # fmt: skip
    if args.model != 'backbone' and (args.modes != ['inference'] or not {*args.variants} <= {'T', 'S'}):
        raise RunError(f'--model {args.model}: whole models are for inference, on Swin-T and Swin-S')
    if args.out.suffix != '.json':
        raise RunError(f'--out {args.out}: expected a name that ends in .json')
    for path in (args.out, args.out.with_suffix('.md')):
        if path.exists() and not args.overwrite:
            raise RunError(f'{path} exists: name another file with --out, or add --overwrite')


class Benchmark:
    """A whole run: its settings, its figures so far, and the files they are in."""

    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self.args, self.folder = args, folder
        self.on_gpu = args.device == 'cuda'
        self.end = time.monotonic() + SECONDS_OF_GPU if args.gpu else None
        settings = {k: getattr(args, k) for k in ('rounds', 'repetitions', 'threads', 'wait_policy')}
        self.values: dict[str, Any] = {'machine': report.machine(args.device), 'settings': settings, 'results': []}

    def run(self) -> None:
        """Do everything."""
        args = self.args
        for backend in known.BACKENDS if args.gpu else ():
            say(f'{backend}: values and gradients')
            worker = self._worker(None, Case('T', 7, (2, 100, 140), 'training', 'float32', args.device), 'default')
            worker.tell('check', backend=backend, device=args.device)
            found = self.values.setdefault('backends', {})
            try:
                found[backend] = worker.answer()
            except WorkerError as reason:
                found[backend] = {'left_out': str(reason)}
            worker.close()
            self._save()
        asked = args.implementations or (known.USUAL if args.model == 'backbone' else known.WHOLE)
        names = [name for name in asked if not known.missing(name)]
        say(f'not installed: {", ".join(name for name in asked if name not in names) or "nothing"}')
        baseline = 'mmswin-reference' if known.missing('mmdet') else 'mmdet'
        names = list(dict.fromkeys([baseline, *names]))
        allocators = ['default'] if self.on_gpu else args.allocators
        for variant, size, precision, allocator in product(args.variants, args.sizes, args.precisions, allocators):
            group = [Case(variant, args.window, size, mode, precision, args.device, args.model) for mode in args.modes]
            # On a GPU one process does both modes, so that it starts once.
            for part in [group] if self.on_gpu else [[case] for case in group]:
                self._compare_and_time(part, names, baseline, allocator)

    def _save(self) -> None:
        atomic.write(self.args.out, json.dumps(self.values, indent=1) + '\n')
        atomic.write(self.args.out.with_suffix('.md'), report.document(self.values))

    def _worker(self, name: str | None, case: Case, allocator: str) -> Worker:
        weights = self.folder / f'{case.variant}.pth'
        if not weights.exists():
            torch.save(known.weights_of(case), weights)
        seconds = None if self.end is None else max(1, round(self.end - time.monotonic()))
        job = {'implementation': name, 'case': case._asdict(), 'weights': str(weights), 'allocator': allocator,
               'threads': self.args.threads, 'seconds': seconds}  # fmt: skip
        return Worker(job, {} if self.args.wait_policy == 'unset' else {'OMP_WAIT_POLICY': 'PASSIVE'})

    def _compare_and_time(self, group: list[Case], names: list[str], baseline: str, allocator: str) -> None:
        """Compare all implementations with the baseline, then time those that are equal, round by round."""
        label = f'{group[0].label}, allocator {allocator}'
        results = [{'label': case.label, 'case': case._asdict(), 'allocator': allocator, 'baseline': baseline,
                    'implementations': {name: {} for name in names}} for case in group]  # fmt: skip
        self.values['results'] += results
        workers = {'oracle': self._worker(baseline, group[0], allocator)}
        expected: dict[Any, tuple[list[torch.Tensor], float]] = {}

        def outputs(name: str, case: Case) -> Path:
            return self.folder / f'{name}_{case.mode}.pth'

        def tell(name: str, case: Case, **changes: Any) -> None:
            workers[name].tell('outputs', path=str(outputs(name, case)), mode=case.mode, **changes)

        def ask(case: Case) -> list[torch.Tensor]:
            tell('oracle', case, size=case.size, precision=case.precision)
            workers['oracle'].answer()
            return torch.load(outputs('oracle', case))

        def compare(name: str, case: Case) -> float:
            """The error of an implementation's outputs. Raises WorkerError where it is too large."""
            found, case = torch.load(outputs(name, case)), case._replace(size=known.compared_at(name, case))
            if case not in expected:
                plain, limit = ask(case._replace(precision='float32')), known.limit_of(case, FLOAT32_LIMIT)
                if case.precision == 'bfloat16' and case.model == 'backbone':
                    limit = BFLOAT16_LIMIT * cases.error(ask(case), plain)
                expected[case] = plain, limit
            error, limit = cases.error(found, expected[case][0]), expected[case][1]
            if not error <= limit and name != 'openvino-int8':
                raise WorkerError(f'not equal: its error in {case.mode} is {error:.1e}, and {limit:.1e} is allowed')
            return error

        def attempt(name: str, do: Callable[[str], None]) -> None:
            try:
                do(name)
            except WorkerError as reason:
                say(f'{name} is left out: {reason}')
                workers.pop(name).close()
                for result in results:
                    result['implementations'][name]['left_out'] = str(reason)

        def start(name: str) -> None:
            say(f'{label}: comparing {name} with {baseline}')
            workers[name] = self._worker(name, group[0], allocator)
            for case in group:
                size = known.compared_at(name, case)
                tell(name, case, **({} if size == case.size else {'size': size}))

        def finish(name: str) -> None:
            for case, result in zip(group, results):
                workers[name].answer()
                result['implementations'][name] = {'error': compare(name, case), 'seconds': []}

        def trial(name: str) -> None:
            for case, result in zip(group, results):
                numbers = {'repetitions': self.args.repetitions, 'warm_up': 3 if self.on_gpu else 1}
                workers[name].tell('measure', mode=case.mode, **numbers)
                answer, entry = workers[name].answer(), result['implementations'][name]
                entry['seconds'].append(answer.pop('seconds'))
                entry |= answer

        try:
            # On a GPU they compile side by side; on a CPU one after the other.
            for batch in [names] if self.on_gpu else [[name] for name in names]:
                for name in batch:
                    start(name)
                for name in batch:
                    attempt(name, finish)
            workers.pop('oracle').close()
            for number in range(self.args.rounds):
                for name in list(workers) if number % 2 == 0 else list(reversed(workers)):
                    attempt(name, trial)
                say(f'{label}: round {number + 1} of {self.args.rounds}')
                self._save()
        finally:
            for worker in workers.values():
                worker.close()
        self._save()
        print('\n'.join(map(report.table, results)), flush=True)


def main() -> int:
    args = parse_args()

    def benchmark() -> None:
        check(args)
        with tempfile.TemporaryDirectory() as folder:
            Benchmark(args, Path(folder)).run()
        print(f'written: {args.out} and {args.out.with_suffix(".md")}')

    return run_tool(benchmark)


if __name__ == '__main__':
    sys.exit(main())
