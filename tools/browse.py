"""Draw training images with their truth: python tools/browse.py, the same as mmswin browse."""

import sys

from mmswin.cli import main

if __name__ == '__main__':
    sys.exit(main(['browse', *sys.argv[1:]]))
