"""The reader on a few hundred damaged files, in a process of its own: no crash, no hang, no code run, little memory."""

import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_damaged_files_are_read_or_refused():
    script = Path(__file__).with_name('fuzz_reader.py')
    command = [sys.executable, '-W', 'ignore', script, '500', '0', '20']
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2000:]
    counts = re.search(r'^(\d+) inputs, (\d+) read, (\d+) refused$', done.stdout, re.MULTILINE)
    assert counts, done.stdout
    inputs, read, refused = map(int, counts.groups())
    assert inputs == read + refused
    assert read >= 12  # the good ones
    assert refused > 30
