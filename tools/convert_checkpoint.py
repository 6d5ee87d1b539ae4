"""Convert a Swin checkpoint into a file for another library: python tools/convert_checkpoint.py, the same as mmswin convert."""

import sys

from mmswin.cli.convert import main

if __name__ == '__main__':
    sys.exit(main())
