"""Train a detector or a segmentation model: python tools/train.py, the same as mmswin train."""

import sys

from mmswin.cli import main

if __name__ == '__main__':
    sys.exit(main(['train', *sys.argv[1:]]))
