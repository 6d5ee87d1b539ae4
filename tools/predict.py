"""Predict on pictures and videos: python tools/predict.py, the same as mmswin predict."""

import sys

from mmswin.cli import main

if __name__ == '__main__':
    sys.exit(main(['predict', *sys.argv[1:]]))
