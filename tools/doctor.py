"""Say whether what is installed fits together: python tools/doctor.py; the exit status is 1 when something fails."""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The patient may lack mmswin itself.
sys.path.insert(0, str(ROOT))


def main() -> int:
    from mmswin.environment import doctor

    argparse.ArgumentParser(description='Say whether torch, mmcv, mmdet, mmseg and mmswin fit together.').parse_args()
    text, well = doctor.diagnose(ROOT)
    print(text)
    return 0 if well else 1


if __name__ == '__main__':
    sys.exit(main())
