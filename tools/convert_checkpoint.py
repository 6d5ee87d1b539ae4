"""Convert a Swin checkpoint into a file for another library: python tools/convert_checkpoint.py, the same as mmswin convert."""

import sys

from mmswin.cli import main

if __name__ == '__main__':
    sys.exit(main(['convert', *sys.argv[1:]]))
