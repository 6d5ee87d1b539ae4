"""Two set-ups at once: the second waits for the first, and a lock dies with its process."""

import subprocess
import sys
from pathlib import Path

from mmswin.environment.wheels import locked

ROOT = Path(__file__).resolve().parents[3]
HOLD = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from mmswin.environment.wheels import locked
with locked(Path({path!r}), wait=lambda: print('waiting', flush=True)):
    print('held', flush=True)
    sys.stdin.read()
"""


def _holder(path):
    code = HOLD.format(root=str(ROOT), path=str(path))
    return subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_the_second_waits_for_the_first(tmp_path):
    path = tmp_path / 'new' / 'lock'
    with _holder(path) as first:
        assert first.stdout.readline() == 'held\n'
        with _holder(path) as second:
            assert second.stdout.readline() == 'waiting\n'
            first.stdin.close()
            assert second.stdout.readline() == 'held\n'
            second.stdin.close()


def test_a_killed_set_up_leaves_no_lock(tmp_path):
    path = tmp_path / 'lock'
    with _holder(path) as first:
        assert first.stdout.readline() == 'held\n'
        first.kill()
    waited = []
    with locked(path, wait=lambda: waited.append(True)):
        assert waited == []
