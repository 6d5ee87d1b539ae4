"""``python -m mmswin`` is the command ``mmswin``; torchrun starts it so: ``torchrun -m mmswin train CONFIG ...``."""

import sys

from mmswin.cli import main

if __name__ == '__main__':
    sys.exit(main())
