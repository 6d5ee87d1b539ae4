"""Test a checkpoint: python tools/test.py, the same as mmswin test."""

import sys

from mmswin.cli import main

if __name__ == '__main__':
    sys.exit(main(['test', *sys.argv[1:]]))
