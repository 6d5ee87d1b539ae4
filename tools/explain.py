"""Draw what predictions rest on: python tools/explain.py, the same as mmswin explain."""

import sys

from mmswin.cli import main

if __name__ == '__main__':
    sys.exit(main(['explain', *sys.argv[1:]]))
