"""Train a detector or a segmentation model: python tools/train.py CONFIG [options]."""

import argparse
import os
import sys

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a model from a config file of mmdet or mmseg.')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir',
        metavar='DIR',
        help="where logs and checkpoints go (default: the config's, else ./work_dirs/CONFIG_NAME)",
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CKPT',
        help='go on with an interrupted run: from this checkpoint, or without one from the newest '
        'complete checkpoint in the work dir',
    )
    parser.add_argument('--load-from', metavar='CKPT', help='start from the weights of this checkpoint')
    parser.add_argument(
        '--amp',
        nargs='?',
        const='auto',
        choices=['auto', 'bf16', 'fp16'],
        help='mixed precision; without a kind: bfloat16 where the hardware has it, else float16',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the batch size over auto_scale_lr.base_batch_size',
    )
    parser.add_argument('--seed', type=int, help='random seed')
    parser.add_argument('--deterministic', action='store_true', help='use deterministic algorithms (slower)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change entries of the config: a.b.c=1 a.list="[1,2]" pipeline.0.prob=0.5; '
        'a key that nothing reads is refused, +KEY=VALUE adds it all the same',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='train into a work dir that holds the checkpoints of an earlier run'
    )
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='read the checkpoint of --resume or --load-from even if it holds more than weights, '
        'which can run code: only for files whose origin you trust',
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
    from mmswin.engine.launch import train
    from mmswin.errors import run_tool

    return run_tool(lambda: train(**arguments))


if __name__ == '__main__':
    sys.exit(main())
