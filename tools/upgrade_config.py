"""Upgrade a config of mmdet 2.x or mmseg 0.x: python tools/upgrade_config.py, the same as mmswin upgrade."""

import sys

from mmswin.cli import main

if __name__ == '__main__':
    sys.exit(main(['upgrade', *sys.argv[1:]]))
