"""Time Swin backbones side by side: python tools/benchmark.py [options]."""

import argparse
import itertools
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Time mmswin beside other Swins with the same weights, in alternate order, after comparing each '
        'with float64. Writes FILE.json, FILE.md and FILE.png.')
    parser.add_argument('--sides', nargs='+', default=['mmswin-auto', 'mmdet'], metavar='SIDE',
                        help='mmswin-BACKEND, mmdet, transformers-eager, transformers-sdpa, timm, timm-fused, '
                        'torchvision; +compile behind a name: with torch.compile (default: mmswin-auto mmdet); '
                        'mmswin-reference is always there')
    parser.add_argument('--sizes', nargs='+', default=['2x800x1344'], metavar='BxHxW',
                        help='images x height x width; "mixed": five sizes in turn (default: 2x800x1344)')
    parser.add_argument('--archs', nargs='+', default=['tiny'], metavar='ARCH', help='tiny, small, base, large')
    parser.add_argument('--window-size', type=int, default=7)
    parser.add_argument('--modes', nargs='+', default=['inference', 'training'], help='inference, training')
    parser.add_argument('--precisions', nargs='+', default=['float32'], help='float32, bfloat16 (autocast)')
    parser.add_argument('--drop-path-rate', type=float, default=0.0)
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ... (default: cpu; with --preset gpu: cuda)')
    parser.add_argument('--allocators', nargs='+', default=['default', 'tuned'],
                        help='on a CPU: default, and tuned, where freed memory is kept')
    parser.add_argument('--rounds', type=int, default=5, help='turns of every side')
    parser.add_argument('--repetitions', type=int, default=3, help='repetitions in a turn')
    parser.add_argument('--threads', type=int, default=os.cpu_count(), help='default: all cores')
    parser.add_argument('--preset', metavar='NAME',
                        help='gpu: all that is to be known of an NVIDIA GPU, correctness first; cpu: what is wanted of '
                        'two cores. Brings its own works and sides; only --device, --threads, --budget and --out count')
    parser.add_argument('--budget', type=float, metavar='SECONDS',
                        help='with --preset: what does not fit is named in the file and left out')
    parser.add_argument('--resume', action='store_true',
                        help='with --preset: keep what an existing FILE.json has done, and do the rest')
    _add_output(parser, 'work_dirs/benchmark.json')
    commands = parser.add_subparsers(dest='command', metavar='end-to-end', title='whole training and test runs')
    _add_end_to_end(commands)
    return parser.parse_args()


def _add_output(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument('--out', type=Path, default=Path(default), metavar='FILE.json', help=f'default: {default}')
    parser.add_argument('--overwrite', action='store_true', help='write over an existing FILE.json')


def _add_end_to_end(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        'end-to-end', help='images per second of tools/train.py and tools/test.py (end-to-end --help: its options)',
        description='Train and test recipes for some iterations, with mmswin\'s backbone and with mmdet\'s or mmseg\'s '
        'own class in its place, in alternate order and from the same weights. Says how many images a second that '
        'makes and what share of the time the backbone has.')
    parser.add_argument('--configs', nargs='+', type=Path, metavar='CONFIG', default=[
        ROOT / 'configs/cascade_mask_rcnn_swin_t_coco.py', ROOT / 'configs/upernet_swin_t_ade20k.py'],
        help='recipes with mmswin.SwinTransformer (default: Cascade Mask R-CNN and UPerNet with Swin-T)')
    parser.add_argument('--data-root', type=Path, metavar='DIR',
                        help='your data, in the layout of COCO or ADE20K (default: generated images)')
    parser.add_argument('--modes', nargs='+', default=['training', 'testing'], help='training, testing')
    parser.add_argument('--backends', nargs='+', default=['auto'], help='attention backends of mmswin (default: auto)')
    parser.add_argument('--iterations', type=int, default=4, help='timed iterations of a turn (default: 4)')
    parser.add_argument('--warm-up', type=int, default=1, help='iterations before them (default: 1)')
    parser.add_argument('--batch-size', type=int, metavar='N',
                        help='images of a training batch (default: the recipe\'s)')
    parser.add_argument('--image-scale', type=float, default=1.0, metavar='FACTOR',
                        help='factor on the recipe\'s image sizes; 0.5 makes 800x1333 into 400x666 (default: 1)')
    parser.add_argument('--workers', type=int, metavar='N', help='processes that load images (default: the recipe\'s)')
    parser.add_argument('--allocators', nargs='+', default=['default'], help='default, tuned')
    parser.add_argument('--rounds', type=int, default=3, help='turns of every side, each a new process (default: 3)')
    parser.add_argument('--threads', type=int, default=os.cpu_count(), help='default: all cores')
    _add_output(parser, 'work_dirs/end_to_end.json')


def _check_output(args: argparse.Namespace) -> None:
    from mmswin.runner.errors import RunError

    if args.out.exists() and not args.overwrite:
        raise RunError(f'{args.out} exists: name another file with --out, or add --overwrite')
    if args.out.suffix != '.json':
        raise RunError(f'--out {args.out} must end in .json')


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def preset(args: argparse.Namespace) -> None:
    from mmswin.benchmark import planned, report
    from mmswin.benchmark.presets import PRESETS
    from mmswin.runner.errors import RunError

    if args.preset not in PRESETS:
        raise RunError(f'--preset {args.preset!r} is unknown; choose from {", ".join(PRESETS)}')
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
    print(f'written: {args.out}, and beside it .md{" and .png" if values["results"] else ""}: '
          + ', '.join(f'{status.count(kind)} {kind}' for kind in dict.fromkeys(status)))


def end_to_end(args: argparse.Namespace) -> None:
    from mmswin.benchmark import end_to_end as benchmark
    from mmswin.benchmark import end_to_end_report as report
    from mmswin.benchmark.cpu import SideFailed
    from mmswin.benchmark.recipes import Options
    from mmswin.benchmark.results import write
    from mmswin.datasets.miniature_folder import MiniatureError
    from mmswin.runner.errors import RunError

    _check_output(args)
    options = Options(args.warm_up, args.iterations, args.batch_size, args.image_scale, args.workers)
    settings = benchmark.Settings(args.rounds, args.threads, tuple(args.allocators), options)

    def done(values: dict[str, Any], result: benchmark.RunResult) -> None:
        print(report.table(result), flush=True)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        write(values, args.out)

    try:
        values = benchmark.run(args.configs, args.modes, args.backends, settings, args.data_root,
                               progress=_say, done=done)
    except (SideFailed, MiniatureError) as error:
        raise RunError(str(error)) from error
    args.out.with_suffix('.md').write_text(report.document(values))
    report.plot(values, args.out.with_suffix('.png'))
    print(f'written: {args.out}, and beside it .md and .png')


def main() -> int:
    args = parse_args()
    from mmswin.runner.errors import RunError, run_tool

    if args.command == 'end-to-end':
        return run_tool(lambda: end_to_end(args))
    if args.preset is not None:
        return run_tool(lambda: preset(args))

    def benchmark() -> None:
        from mmswin.benchmark import report, suite
        from mmswin.benchmark.cpu import SideFailed
        from mmswin.benchmark.results import write
        from mmswin.benchmark.work import MIXED, Work

        _check_output(args)
        if args.budget is not None or args.resume:
            raise RunError('--budget and --resume are for --preset')
        settings = suite.Settings(args.rounds, args.repetitions, args.threads, tuple(args.allocators))
        try:
            works = [
                Work(arch, args.window_size, mode, precision, MIXED if size == 'mixed' else (size,),
                     args.device or 'cpu', args.drop_path_rate)
                for arch, size, precision, mode in itertools.product(
                    args.archs, args.sizes, args.precisions, args.modes)
            ]
            values = suite.run(works, args.sides, settings, progress=_say,
                               done=lambda result: print(report.table(result), flush=True))
        except (ValueError, SideFailed) as error:
            raise RunError(str(error)) from error
        args.out.parent.mkdir(parents=True, exist_ok=True)
        write(values, args.out)
        args.out.with_suffix('.md').write_text(report.document(values))
        report.plot(values, args.out.with_suffix('.png'))
        print(f'written: {args.out}, and beside it .md and .png')

    return run_tool(benchmark)


if __name__ == '__main__':
    sys.exit(main())
