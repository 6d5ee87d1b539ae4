"""Train and test Cascade Mask R-CNN and UPerNet with Swin on miniature data, with pictures: python tools/demo.py."""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from demo.run import DemoError, run_demo  # noqa: E402
from mmswin.data.miniature import MiniatureError  # noqa: E402


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Make a miniature COCO and a miniature ADE20K, train Cascade Mask R-CNN and UPerNet with Swin on '
        'them through tools/train.py, test them through tools/test.py, and draw predictions and curves. Each run gets '
        'a new directory.'
    )
    parser.add_argument('--only', choices=['detection', 'segmentation'], help='one task of it (default: both)')
    parser.add_argument(
        '--data-dir',
        type=Path,
        metavar='DIR',
        help='gets miniature_coco and miniature_ade; what is there is used (data)',
    )
    parser.add_argument(
        '--work-dir', type=Path, metavar='DIR', help='gets a new directory run_N with all results (work_dirs/demo)'
    )
    parser.add_argument(
        '--quick',
        action='store_true',
        help='a few iterations on a few images: shows in a minute that everything runs, learns nothing',
    )
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    data_dir, work_dir = (path and path.absolute() for path in (args.data_dir, args.work_dir))
    try:
        run_demo(ROOT, data_dir, work_dir, args.quick, args.only, say=lambda line: print(line, flush=True))
    except (DemoError, MiniatureError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('stopped; what is there stays, and the next run begins a new directory', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
