"""Count what a config costs: mmswin complexity CONFIG [--shape H W] [--sweep]."""

import argparse
from collections.abc import Sequence

from mmswin.cli.parsing import add_config, command_parser, whole
from mmswin.errors import say


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = command_parser(
        'complexity',
        "Count the parameters and multiply-adds of a config, part by part, by the paper's protocol: one image; 1000 "
        'proposals through each box stage, 100 boxes through each mask head.',
        'cascade_mask_rcnn_swin_t_coco --shape 800 1280',
    )
    add_config(parser)
    parser.add_argument(
        '--shape',
        nargs=2,
        type=whole(0),
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
    args = parser.parse_args(argv)
    if args.time and not args.sweep:
        parser.error('--time belongs to --sweep: add it')
    return args


def run(args: argparse.Namespace) -> None:
    from mmswin.analysis import protocol, reports, scaling
    from mmswin.engine.configure import load_config

    cfg, shape = load_config(args.config, args.cfg_options, None), tuple(args.shape)
    first = scaling.first_attention(cfg) if args.sweep else None
    say(reports.complexity_text(protocol.measure(cfg, shape)))
    if first is not None:
        print(f'\nthe first attention layer, alone, over maps of up to {scaling.MAX_TOKENS} tokens:', flush=True)
        print(reports.sweep_text(scaling.sweep(*first, timed=args.time), shape))
