"""Write a trained model as a program: python tools/export.py, the same as mmswin export."""

import sys

from mmswin.cli import main

if __name__ == '__main__':
    sys.exit(main(['export', *sys.argv[1:]]))
