"""What libraries print is held back, and kept where they fail."""

import os
import sys

import pytest

from mmswin.errors import RunError
from mmswin.export.printed import held_back


def speak() -> None:
    print('by print')
    print('to stderr', file=sys.stderr)
    os.write(2, b'by a compiled library\n')


def test_nothing_is_seen_of_what_goes_well(tmp_path, capfd):
    with held_back(tmp_path / 'log'):
        speak()
    print('afterwards')
    assert capfd.readouterr() == ('afterwards\n', '')
    assert not (tmp_path / 'log').exists()


def test_a_failure_has_all_of_it(tmp_path, capfd):
    with pytest.raises(RunError, match='the reason.*log'), held_back(tmp_path / 'log'):
        speak()
        raise RunError('the reason')
    assert capfd.readouterr() == ('', '')
    assert (tmp_path / 'log').read_text().split('\n') == ['by print', 'to stderr', 'by a compiled library', '']
    with pytest.raises(RunError) as raised, held_back(tmp_path / 'none'):
        raise RunError('the reason')
    assert str(raised.value) == 'the reason' and not (tmp_path / 'none').exists()
    with pytest.raises(KeyboardInterrupt), held_back(tmp_path / 'none'):
        speak()
        raise KeyboardInterrupt
    assert not (tmp_path / 'none').exists()
