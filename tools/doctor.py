"""Say whether what is installed fits together: python tools/doctor.py, the same as mmswin doctor."""

import sys
from pathlib import Path

# The environment in question may lack mmswin itself.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmswin.cli import main

if __name__ == '__main__':
    sys.exit(main(['doctor', *sys.argv[1:]]))
