"""Make a miniature ADE20K: python tools/make_miniature_ade.py DIR [options], the same as mmswin miniature ade."""

import sys

from mmswin.cli import main

if __name__ == '__main__':
    sys.exit(main(['miniature', 'ade', *sys.argv[1:]]))
