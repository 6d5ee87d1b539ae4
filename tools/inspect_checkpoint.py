"""Say what a Swin checkpoint is: python tools/inspect_checkpoint.py, the same as mmswin inspect."""

import sys

from mmswin.cli import main

if __name__ == '__main__':
    sys.exit(main(['inspect', *sys.argv[1:]]))
