"""Test a checkpoint: python tools/test.py CONFIG CHECKPOINT [options]."""

import argparse
import os
import sys

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Test a checkpoint with a config file of mmdet or mmseg.')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument(
        '--work-dir',
        metavar='DIR',
        help="where the log and the figures go (default: the config's, else ./work_dirs/CONFIG_NAME)",
    )
    parser.add_argument('--out', metavar='FILE.pkl', help='pickle the predictions into this file')
    parser.add_argument('--show-dir', metavar='DIR', help='draw the predictions into this directory')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change entries of the config, as in tools/train.py',
    )
    parser.add_argument('--overwrite', action='store_true', help='write over an existing --out and into --show-dir')
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='read the checkpoint even if it holds more than weights, which can run code: '
        'only for files whose origin you trust',
    )
    parser.add_argument(
        '--tune-cpu', action='store_true', help='let the process keep the memory it frees: faster on a CPU (Linux)'
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how several processes were started',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.launcher != 'none':
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main() -> int:
    arguments = vars(parse_args())
    arguments.pop('local_rank')
    if arguments.pop('tune_cpu'):
        import mmswin

        mmswin.tune_cpu()
    from mmswin.engine.launch import test
    from mmswin.errors import run_tool

    return run_tool(lambda: test(**arguments))


if __name__ == '__main__':
    sys.exit(main())
