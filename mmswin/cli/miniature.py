"""Make a miniature COCO or ADE20K in the real layout: mmswin miniature coco|ade DIR [options]."""

import argparse
import sys
import time
from collections.abc import Sequence

from mmswin.cli.parsing import command_parser, whole
from mmswin.data.miniature import DEFAULT_CLASSES, MiniatureError, MiniatureSettings, make_miniature
from mmswin.errors import say

KINDS = {'coco': 'COCO', 'ade': 'ADE20K'}


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = command_parser(
        'miniature',
        'Make a miniature COCO or ADE20K: synthetic images in the real layout.',
        'coco data/coco --classes coco',
        'ade data/miniature_ade',
    )
    parser.add_argument('kind', choices=KINDS, help='whose layout')
    parser.add_argument(
        'out_dir', metavar='DIR', help='directory to make; for ade, in the place of ADEChallengeData2016'
    )
    parser.add_argument(
        '--train', type=whole(), default=MiniatureSettings.num_train, help='training images (%(default)s)'
    )
    parser.add_argument(
        '--val', type=whole(), default=MiniatureSettings.num_val, help='validation images (%(default)s)'
    )
    parser.add_argument(
        '--size',
        type=whole(),
        default=MiniatureSettings.image_size,
        metavar='PIXELS',
        help='longer side of an image (%(default)s)',
    )
    parser.add_argument('--seed', type=whole(0), default=MiniatureSettings.seed, help='(%(default)s)')
    parser.add_argument(
        '--classes',
        nargs='+',
        default=list(DEFAULT_CLASSES),
        metavar='FORM',
        help=f'forms to draw ({" ".join(DEFAULT_CLASSES)}; also crescent, arrow, hexagon); or coco for its 80 '
        'categories, ade for its 150 classes, so that configs for COCO and ADE20K run unchanged',
    )
    parser.add_argument('--force', action='store_true', help='replace a miniature data set that is there')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    start = time.time()

    def progress(done: int, total: int) -> None:
        if done % 100 == 0 or done == total:
            left = (time.time() - start) / done * (total - done)
            print(f'{done}/{total} images, {left:.0f} s left', flush=True)

    kind = KINDS[args.kind]
    try:
        classes = tuple(name for word in args.classes for name in word.split(',') if name)
        settings = MiniatureSettings(args.train, args.val, args.size, args.seed, classes)
        root = make_miniature(kind, args.out_dir, settings, args.force, progress)
    except (MiniatureError, OSError) as error:
        say(f'error: {error}', sys.stderr)
        return 1
    if args.kind == 'coco':
        print(f'{root}: annotations/instances_{{train,val}}2017.json, train2017/, val2017/, stuffthingmaps/')
    else:
        names = settings.names(kind)
        print(
            f'{root}: {{images,annotations}}/{{training,validation}}/; label 0 is not labelled, then from 1: '
            + (', '.join(names) if len(names) < 20 else f'the {len(names)} classes of ADE20K')
        )
    return 0
