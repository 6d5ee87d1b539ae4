"""Count what a config costs: mmswin complexity CONFIG [--shape H W] [--sweep]."""

import argparse
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from mmswin.cli.parsing import add_config, command_parser, whole
from mmswin.errors import RunError, say


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
        metavar=('HEIGHT', 'WIDTH'),
        help='of the image in pixels (default: of classifiers what the test pipeline makes of every picture, else 800 1280; '
        'the paper has 512 2048 for ADE20K)',
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


def usual_shape(cfg: Any) -> tuple[int, int]:
    """Height and width that a classifier's test pipeline gives to every picture; else the paper's of COCO."""
    from mmswin.export.preprocessing import read_config

    size = None
    with suppress(RunError):  # steps that are not for export
        given = read_config(cfg, inside=False) if cfg.get('default_scope') == 'mmpretrain' else None
        size = given and (given.crop or (None if given.keep_ratio else given.scale))
    return size[::-1] if size else (800, 1280)


def run(args: argparse.Namespace) -> None:
    from mmswin.analysis import protocol, reports, scaling
    from mmswin.engine.configure import load_config

    cfg = load_config(args.config, args.cfg_options, None)
    shape = tuple(args.shape or usual_shape(cfg))
    first = scaling.first_attention(cfg) if args.sweep else None
    say(reports.complexity_text(protocol.measure(cfg, shape)))
    if first is not None:
        print(f'\nthe first attention layer, alone, over maps of up to {scaling.MAX_TOKENS} tokens:', flush=True)
        print(reports.sweep_text(scaling.sweep(*first, timed=args.time), shape))
