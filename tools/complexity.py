"""What a configuration costs: python tools/complexity.py CONFIG [--shape H W] [--sweep]."""

import argparse
import sys

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Count the parameters and multiply-adds of a configuration, part by part, by the paper's "
        'protocol: one image; 1000 proposals through each box stage, 100 boxes through each mask head.'
    )
    parser.add_argument('config', help='config file of mmdet or mmseg')
    parser.add_argument(
        '--shape',
        nargs=2,
        type=int,
        default=(800, 1280),
        metavar=('HEIGHT', 'WIDTH'),
        help='of the image in pixels (default 800 1280; the paper has 512 2048 for ADE20K)',
    )
    parser.add_argument(
        '--sweep',
        action='store_true',
        help='also count the first attention layer over growing maps: inside windows and over the whole map',
    )
    parser.add_argument('--time', action='store_true', help='of --sweep: measure as well (a minute)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change entries of the config, as in tools/train.py',
    )
    args = parser.parse_args()
    if args.time and not args.sweep:
        parser.error('--time belongs to --sweep: add it')
    return args


def main() -> int:
    args = parse_args()
    from mmswin.analysis import protocol, reports, scaling
    from mmswin.engine.configure import load_config
    from mmswin.errors import run_tool

    def work() -> None:
        cfg, shape = load_config(args.config, args.cfg_options, None), tuple(args.shape)
        first = scaling.first_attention(cfg) if args.sweep else None
        print(reports.complexity_text(protocol.measure(cfg, shape)), flush=True)
        if first is not None:
            print(f'\nthe first attention layer, alone, over maps of up to {scaling.MAX_TOKENS} tokens:', flush=True)
            print(reports.sweep_text(scaling.sweep(*first, timed=args.time), shape))

    return run_tool(work)


if __name__ == '__main__':
    sys.exit(main())
