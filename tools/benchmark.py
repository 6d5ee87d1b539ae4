"""Time Swin backbones side by side: python tools/benchmark.py [options]."""

import argparse
import functools
import itertools
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Defaults of the options that a preset brings values of its own for.
OWN = {
    'sides': ['mmswin-auto', 'mmdet'], 'sizes': ['2x800x1344'], 'archs': ['tiny'], 'window_size': 7,
    'modes': ['inference', 'training'], 'precisions': ['float32'], 'drop_path_rate': 0.0,
    'allocators': ['default', 'tuned'], 'rounds': 5, 'repetitions': 3,
}  # fmt: skip


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Time mmswin beside other Swins with the same weights, in alternate order, after comparing each '
        'with float64. Writes FILE.json and FILE.md after each part, and FILE.png at the end. The defaults take many '
        'minutes on a CPU: --modes inference --allocators default --rounds 2 takes a tenth of it or less.'
    )
    own = functools.partial(_add_own, parser)
    own(
        '--sides',
        nargs='+',
        metavar='SIDE',
        help='mmswin-BACKEND, mmdet, transformers-eager, transformers-sdpa, timm, timm-fused, '
        'torchvision; +compile behind a name: with torch.compile; mmswin-reference is always there',
    )
    own('--sizes', nargs='+', metavar='BxHxW', help='images x height x width; "mixed": five sizes in turn')
    own('--archs', nargs='+', metavar='ARCH', help='tiny, small, base, large')
    own('--window-size', type=int, metavar='N', help='tokens along a side of a window')
    own('--modes', nargs='+', metavar='MODE', help='inference, training')
    own('--precisions', nargs='+', metavar='TYPE', help='float32, bfloat16 (autocast)')
    own('--drop-path-rate', type=float, metavar='RATE', help='of the blocks, in training')
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ... (default: cpu; with --preset gpu: cuda)')
    own('--allocators', nargs='+', metavar='NAME', help='on a CPU: default, and tuned, where freed memory is kept')
    own('--rounds', type=int, metavar='N', help='turns of every side')
    own('--repetitions', type=int, metavar='N', help='repetitions in a turn')
    parser.add_argument('--threads', type=int, default=os.cpu_count(), help='default: all cores')
    parser.add_argument(
        '--preset',
        metavar='NAME',
        help='gpu: all that is to be known of an NVIDIA GPU, correctness first; cpu: what is wanted of '
        'two cores. Brings its own works and sides; of the options only '
        '--device, --threads, --budget, --resume, --out and --overwrite go with it',
    )
    parser.add_argument(
        '--budget',
        type=float,
        metavar='SECONDS',
        help='with --preset: what does not fit is named in the file and left out',
    )
    parser.add_argument(
        '--resume', action='store_true', help='with --preset: keep what an existing FILE.json has done, and do the rest'
    )
    _add_output(parser, 'work_dirs/benchmark.json')
    commands = parser.add_subparsers(dest='command', metavar='end-to-end', title='whole training and test runs')
    _add_end_to_end(commands)
    return parser.parse_args()


def _add_own(parser: argparse.ArgumentParser, option: str, help: str, **arguments: Any) -> None:
    """An option of :data:`OWN`: None unless it is given, so that a preset can refuse it."""
    default = OWN[option.removeprefix('--').replace('-', '_')]
    words = ' '.join(default) if isinstance(default, list) else f'{default:g}'
    parser.add_argument(option, help=f'{help} (default: {words})', **arguments)


def _add_output(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument('--out', type=Path, default=Path(default), metavar='FILE.json', help=f'default: {default}')
    parser.add_argument('--overwrite', action='store_true', help='write over an existing FILE.json')


def _add_end_to_end(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        'end-to-end',
        help='images per second of tools/train.py and tools/test.py (end-to-end --help: its options)',
        description="Train and test recipes for some iterations, with mmswin's backbone and with mmdet's or mmseg's "
        'own class in its place, in alternate order and from the same weights. Says how many images a second that '
        'makes and what share of the time the backbone has.',
    )
    parser.add_argument(
        '--configs',
        nargs='+',
        type=Path,
        metavar='CONFIG',
        default=[ROOT / 'configs/cascade_mask_rcnn_swin_t_coco.py', ROOT / 'configs/upernet_swin_t_ade20k.py'],
        help='recipes with mmswin.SwinTransformer (default: Cascade Mask R-CNN and UPerNet with Swin-T)',
    )
    parser.add_argument(
        '--data-root',
        type=Path,
        metavar='DIR',
        help='your data, in the layout of COCO or ADE20K (default: generated images)',
    )
    parser.add_argument('--modes', nargs='+', default=['training', 'testing'], help='training, testing')
    parser.add_argument('--backends', nargs='+', default=['auto'], help='attention backends of mmswin (default: auto)')
    parser.add_argument('--iterations', type=int, default=4, help='timed iterations of a turn (default: 4)')
    parser.add_argument('--warm-up', type=int, default=1, help='iterations before them (default: 1)')
    parser.add_argument(
        '--batch-size', type=int, metavar='N', help="images of a training batch (default: the recipe's)"
    )
    parser.add_argument(
        '--image-scale',
        type=float,
        default=1.0,
        metavar='FACTOR',
        help="factor on the recipe's image sizes; 0.5 makes 800x1333 into 400x666 (default: 1)",
    )
    parser.add_argument('--workers', type=int, metavar='N', help="processes that load images (default: the recipe's)")
    parser.add_argument('--allocators', nargs='+', default=['default'], help='default, tuned')
    parser.add_argument('--rounds', type=int, default=3, help='turns of every side, each a new process (default: 3)')
    parser.add_argument('--threads', type=int, default=os.cpu_count(), help='default: all cores')
    _add_output(parser, 'work_dirs/end_to_end.json')


def _check_output(args: argparse.Namespace) -> None:
    from mmswin.errors import RunError

    if args.out.exists() and not args.overwrite:
        from mmswin.benchmark.planned import unfinished

        preset = unfinished(args.out)
        held = f' and holds an unfinished run: go on with it by --preset {preset} --resume,' if preset else ':'
        raise RunError(f'{args.out} exists{held} name another file with --out, or add --overwrite')
    if args.out.suffix != '.json':
        raise RunError(f'--out {args.out} must end in .json')


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def preset(args: argparse.Namespace) -> None:
    from mmswin.benchmark import planned, report
    from mmswin.benchmark.presets import PRESETS
    from mmswin.errors import RunError

    if args.preset not in PRESETS:
        raise RunError(f'--preset {args.preset!r} is unknown; choose from {", ".join(PRESETS)}')
    given = [f'--{name.replace("_", "-")}' for name in OWN if getattr(args, name) is not None]
    if given:
        raise RunError(f'--preset {args.preset} brings its own works and sides: leave out {", ".join(given)}')
    if args.threads < 1:
        raise RunError(f'--threads {args.threads}: give 1 or more')
    if args.budget is not None and args.budget <= 0:
        raise RunError(f'--budget {args.budget:g}: give seconds above 0')
    earlier = planned.read(args.out) if args.resume and args.out.exists() else None
    if earlier is None:
        _check_output(args)
    device = args.device or ('cuda' if args.preset == 'gpu' else 'cpu')
    pieces = PRESETS[args.preset](device, args.threads)
    values = planned.run(args.preset, pieces, device, args.budget, args.out, _say, earlier)
    if values['results']:
        report.plot(values, args.out.with_suffix('.png'))
    status = [piece['status'] for piece in values['pieces']]
    print(
        f'written: {args.out}, and beside it .md{" and .png" if values["results"] else ""}: '
        + ', '.join(f'{status.count(kind)} {kind}' for kind in dict.fromkeys(status))
    )


def end_to_end(args: argparse.Namespace) -> None:
    from mmswin.benchmark import end_to_end as benchmark
    from mmswin.benchmark import end_to_end_report as report
    from mmswin.benchmark.cpu import SideFailed
    from mmswin.benchmark.recipes import Options
    from mmswin.benchmark.results import write
    from mmswin.data.miniature_folder import MiniatureError
    from mmswin.errors import RunError

    before = sys.argv[1 : sys.argv.index(args.command)]
    if before:  # argparse would take them and lose them
        raise RunError(f'{" ".join(before)} stands before {args.command}, whose options go behind it')
    _check_output(args)
    options = Options(args.warm_up, args.iterations, args.batch_size, args.image_scale, args.workers)
    settings = benchmark.Settings(args.rounds, args.threads, tuple(args.allocators), options)

    def done(values: dict[str, Any], result: benchmark.RunResult) -> None:
        print(report.table(result), flush=True)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        write(values, args.out)

    try:
        values = benchmark.run(
            args.configs, args.modes, args.backends, settings, args.data_root, progress=_say, done=done
        )
    except (SideFailed, MiniatureError) as error:
        raise RunError(str(error)) from error
    args.out.with_suffix('.md').write_text(report.document(values))
    report.plot(values, args.out.with_suffix('.png'))
    print(f'written: {args.out}, and beside it .md and .png')


def main() -> int:
    args = parse_args()
    from mmswin.errors import RunError, run_tool

    if args.command == 'end-to-end':
        return run_tool(lambda: end_to_end(args))
    if args.preset is not None:
        return run_tool(lambda: preset(args))

    def benchmark() -> None:
        from mmswin.benchmark import report, suite
        from mmswin.benchmark.cpu import SideFailed
        from mmswin.benchmark.results import WorkResult, write
        from mmswin.benchmark.work import MIXED, Work

        _check_output(args)
        if args.budget is not None or args.resume:
            raise RunError('--budget and --resume are for --preset')
        for name, default in OWN.items():
            if getattr(args, name) is None:
                setattr(args, name, default)

        def done(values: dict[str, Any], result: WorkResult) -> None:
            print(report.table(result), flush=True)
            args.out.parent.mkdir(parents=True, exist_ok=True)
            write(values, args.out)
            args.out.with_suffix('.md').write_text(report.document(values))

        settings = suite.Settings(args.rounds, args.repetitions, args.threads, tuple(args.allocators))
        try:
            works = [
                Work(
                    arch,
                    args.window_size,
                    mode,
                    precision,
                    MIXED if size == 'mixed' else (size,),
                    args.device or 'cpu',
                    args.drop_path_rate,
                )
                for arch, size, precision, mode in itertools.product(
                    args.archs, args.sizes, args.precisions, args.modes
                )
            ]
            values = suite.run(works, args.sides, settings, progress=_say, done=done)
        except (ValueError, SideFailed) as error:
            raise RunError(str(error)) from error
        report.plot(values, args.out.with_suffix('.png'))
        print(f'written: {args.out}, and beside it .md and .png')

    return run_tool(benchmark)


if __name__ == '__main__':
    sys.exit(main())
