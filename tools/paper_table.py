"""Compare the configurations with the paper's tables: python tools/paper_table.py, the same as mmswin table."""

import sys

from mmswin.cli import main

if __name__ == '__main__':
    sys.exit(main(['table', *sys.argv[1:]]))
