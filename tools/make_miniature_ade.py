"""Make a miniature ADE20K in the real layout: python tools/make_miniature_ade.py data/miniature_ade [options]."""

import argparse
import sys
import time

from mmswin.data.miniature import parse_classes
from mmswin.data.miniature_ade import DEFAULT_CLASSES, MiniatureAdeSettings, MiniatureError, make_miniature_ade


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Make a miniature ADE20K: synthetic images in the real layout.')
    parser.add_argument('out_dir', help='directory to make, in the place of ADEChallengeData2016')
    parser.add_argument(
        '--train', type=int, default=MiniatureAdeSettings.num_train, help='training images (%(default)s)'
    )
    parser.add_argument('--val', type=int, default=MiniatureAdeSettings.num_val, help='validation images (%(default)s)')
    parser.add_argument(
        '--size',
        type=int,
        default=MiniatureAdeSettings.image_size,
        metavar='PIXELS',
        help='longer side of an image (%(default)s)',
    )
    parser.add_argument('--seed', type=int, default=MiniatureAdeSettings.seed, help='(%(default)s)')
    parser.add_argument(
        '--classes',
        nargs='+',
        default=list(DEFAULT_CLASSES),
        metavar='FORM',
        help=f'forms to draw on the ground ({" ".join(DEFAULT_CLASSES)}; also crescent, arrow, '
        'hexagon), or ade for its 150 classes, so that configurations for ADE20K run unchanged',
    )
    parser.add_argument('--force', action='store_true', help='replace a miniature ADE20K that is there')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    start = time.time()

    def progress(done: int, total: int) -> None:
        if done % 100 == 0 or done == total:
            left = (time.time() - start) / done * (total - done)
            print(f'{done}/{total} images, {left:.0f} s left', flush=True)

    try:
        settings = MiniatureAdeSettings(args.train, args.val, args.size, args.seed, parse_classes(args.classes))
        root = make_miniature_ade(args.out_dir, settings, args.force, progress)
    except (MiniatureError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    print(
        f'{root}: {{images,annotations}}/{{training,validation}}/; label 0 is not labelled, then from 1: '
        + (', '.join(settings.names) if len(settings.names) < 20 else f'the {len(settings.names)} classes of ADE20K')
    )
    return 0


if __name__ == '__main__':
    sys.exit(main())
