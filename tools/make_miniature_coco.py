"""Make a miniature COCO in the real layout: python tools/make_miniature_coco.py data/miniature_coco [options]."""

import argparse
import sys
import time

from mmswin.data.miniature import DEFAULT_CLASSES, MiniatureError, MiniatureSettings, make_miniature


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Make a miniature COCO: synthetic images in the real layout.')
    parser.add_argument('out_dir', help='directory to make')
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
        help=f'forms to draw ({" ".join(DEFAULT_CLASSES)}; also crescent, arrow, hexagon), '
        'or coco for its 80 categories, so that configurations for COCO run unchanged',
    )
    parser.add_argument('--force', action='store_true', help='replace a miniature COCO that is there')
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
        root = make_miniature('COCO', args.out_dir, settings, args.force, progress)
    except (MiniatureError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    print(f'{root}: annotations/instances_{{train,val}}2017.json, train2017/, val2017/')
    return 0


if __name__ == '__main__':
    sys.exit(main())
