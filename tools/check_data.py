"""Check the data of a config without training: python tools/check_data.py, the same as mmswin check."""

import sys

from mmswin.cli import main

if __name__ == '__main__':
    sys.exit(main(['check', *sys.argv[1:]]))
