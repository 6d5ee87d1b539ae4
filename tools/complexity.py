"""Count what a configuration costs: python tools/complexity.py, the same as mmswin complexity."""

import sys

from mmswin.cli import main

if __name__ == '__main__':
    sys.exit(main(['complexity', *sys.argv[1:]]))
