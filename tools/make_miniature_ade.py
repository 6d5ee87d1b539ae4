"""Make a miniature ADE20K in the real layout: python tools/make_miniature_ade.py data/miniature_ade [options]."""

import argparse
import sys
import time

from mmswin.data.miniature import DEFAULT_CLASSES, MiniatureError, MiniatureSettings, make_miniature


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Make a miniature ADE20K: synthetic images in the real layout.')
    parser.add_argument('out_dir', help='directory to make, in the place of ADEChallengeData2016')
    parser.add_argument('--train', type=int, default=MiniatureSettings.num_train, help='training images (%(default)s)')
    parser.add_argument('--val', type=int, default=MiniatureSettings.num_val, help='validation images (%(default)s)')
    parser.add_argument(
        '--size',
        type=int,
        default=MiniatureSettings.image_size,
        metavar='PIXELS',
        help='longer side of an image (%(default)s)',
    )
    parser.add_argument('--seed', type=int, default=MiniatureSettings.seed, help='(%(default)s)')
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
        classes = tuple(name for word in args.classes for name in word.split(',') if name)
        settings = MiniatureSettings(args.train, args.val, args.size, args.seed, classes)
        root = make_miniature('ADE20K', args.out_dir, settings, args.force, progress)
    except (MiniatureError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    names = settings.names('ADE20K')
    print(
        f'{root}: {{images,annotations}}/{{training,validation}}/; label 0 is not labelled, then from 1: '
        + (', '.join(names) if len(names) < 20 else f'the {len(names)} classes of ADE20K')
    )
    return 0


if __name__ == '__main__':
    sys.exit(main())
