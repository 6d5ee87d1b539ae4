"""Time Swin backbones side by side: python tools/benchmark.py [options]."""

import argparse
import itertools
import json
import os
import sys
from pathlib import Path


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
    parser.add_argument('--device', default='cpu', help='cpu, cuda, cuda:1, ...')
    parser.add_argument('--allocators', nargs='+', default=['default', 'tuned'],
                        help='on a CPU: default, and tuned, where freed memory is kept')
    parser.add_argument('--rounds', type=int, default=5, help='turns of every side')
    parser.add_argument('--repetitions', type=int, default=3, help='repetitions in a turn')
    parser.add_argument('--threads', type=int, default=os.cpu_count(), help='default: all cores')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/benchmark.json'), metavar='FILE.json')
    parser.add_argument('--overwrite', action='store_true', help='write over an existing FILE.json')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    from mmswin.runner.errors import RunError, run_tool

    def benchmark() -> None:
        from mmswin.benchmark import report, suite
        from mmswin.benchmark.cpu import SideFailed
        from mmswin.benchmark.work import MIXED, Work

        if args.out.exists() and not args.overwrite:
            raise RunError(f'{args.out} exists: name another file with --out, or add --overwrite')
        if args.out.suffix != '.json':
            raise RunError(f'--out {args.out} must end in .json')
        settings = suite.Settings(args.rounds, args.repetitions, args.threads, tuple(args.allocators))
        try:
            works = [
                Work(arch, args.window_size, mode, precision, MIXED if size == 'mixed' else (size,), args.device,
                     args.drop_path_rate)
                for arch, size, precision, mode in itertools.product(
                    args.archs, args.sizes, args.precisions, args.modes)
            ]
            values = suite.run(works, args.sides, settings, progress=lambda line: print(line, file=sys.stderr),
                               done=lambda result: print(report.table(result), flush=True))
        except (ValueError, SideFailed) as error:
            raise RunError(str(error)) from error
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(values, indent=1) + '\n')
        args.out.with_suffix('.md').write_text(report.document(values))
        report.plot(values, args.out.with_suffix('.png'))
        print(f'written: {args.out}, and beside it .md and .png')

    return run_tool(benchmark)


if __name__ == '__main__':
    sys.exit(main())
