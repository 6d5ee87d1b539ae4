"""Make a miniature COCO: python tools/make_miniature_coco.py DIR [options], the same as mmswin miniature coco."""

import sys

from mmswin.cli import main

if __name__ == '__main__':
    sys.exit(main(['miniature', 'coco', *sys.argv[1:]]))
