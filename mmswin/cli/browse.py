"""Draw training images after augmentation with their truth: mmswin browse CONFIG --out DIR [options]."""

import argparse
from collections.abc import Sequence

from mmswin.cli.parsing import add_config, add_output_options, command_parser, whole


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = command_parser(
        'browse',
        'Draw training images as the network gets them, augmented, with their truth: wrong labels, classes and crops are '
        'seen before a run.',
        'mask_rcnn_swin_t_finetune --out browsed --number 40',
    )
    add_config(parser)
    add_output_options(parser, 'where the pictures go')
    parser.add_argument('--number', type=whole(), default=20, help='of images, spread over the data (default 20)')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train')
    parser.add_argument(
        '--checkpoint',
        metavar='FILE',
        help='of a network that SimMIM pretrains: shows what it makes of masked patches, between the masked picture and the '
        'whole one',
    )
    parser.add_argument('--seed', type=whole(0), default=0, help='another one augments the same images otherwise')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    from mmswin.engine.configure import load_config
    from mmswin.inference.training_images import training_images
    from mmswin.inference.writing import Writer

    with Writer(args.out, overwrite=args.overwrite) as writer:
        cfg = load_config(args.config, args.cfg_options, None)
        for result in training_images(cfg, args.number, args.split, args.seed, args.checkpoint):
            writer.add(result)
    named = ', '.join(f'{name} {number}' for name, number in writer.counts.most_common(12))
    print(f'{writer.pictures} images: {named or "no truth in them"}; in {args.out}')
