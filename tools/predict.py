"""Predict on pictures and videos: python tools/predict.py, the same as mmswin predict."""

import sys

from mmswin.cli.predict import main

if __name__ == '__main__':
    sys.exit(main())
