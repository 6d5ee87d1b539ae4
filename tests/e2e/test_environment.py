"""The doctor, the set-up's commands and the package's imports, in processes of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

from mmswin.environment.shell import CommandError, Shell

ROOT = Path(__file__).resolve().parents[2]


def _run(*arguments, **settings):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, **settings)


def test_the_doctor_finds_this_environment_well():
    done = _run('tools/doctor.py')
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'ok   mmcv ops    run on cpu' in done.stdout


def test_the_doctor_and_the_set_up_need_no_package():
    """-S leaves out site-packages, -E the variables that could bring them back."""
    code = (
        f'import sys; sys.path.insert(0, {str(ROOT)!r})\n'
        'from mmswin.environment import doctor, provision\n'
        'print(doctor.table(doctor.judge(doctor.read_report("", 1), [], None)))'
    )
    done = _run('-S', '-E', '-c', code)
    assert done.returncode == 0, done.stderr
    assert 'FAIL stack' in done.stdout


def test_only_mmswin_is_installed():
    done = _run('-c', "from setuptools import find_packages; print(*find_packages(include=['mmswin', 'mmswin.*']))")
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / 'mmswin').rglob('*.py')}
    assert set(done.stdout.split()) == {'.'.join(folder.parts) for folder in folders}, 'an __init__.py is missing'


def test_the_backbone_without_mmengine_says_what_is_missing():
    code = "import sys; sys.modules['mmengine'] = None; import mmswin; mmswin.SwinTransformer"
    done = _run('-c', code)
    last = done.stderr.splitlines()[-1]
    assert 'mmswin.SwinTransformer needs mmengine' in last and "'mmswin[openmmlab]'" in last


def test_a_command_that_fails_is_explained_and_logged(tmp_path):
    log = tmp_path / 'setup.log'
    code = "print('OSError: [Errno 28] No space left on device'); raise SystemExit(1)"
    with pytest.raises(CommandError, match='installing failed. The disk is full') as error:
        Shell(log).run([sys.executable, '-c', code], 'installing')
    assert str(log) in str(error.value) and 'Errno 28' in log.read_text()
    with pytest.raises(CommandError, match='cannot be run'):
        Shell(log).run([str(tmp_path / 'none')], 'asking')


def test_a_long_command_says_now_and_then_how_far_it_is(tmp_path, capsys):
    shell = Shell(tmp_path / 'log', interval=0.05)
    command = [sys.executable, '-c', 'input()']
    shown = iter(['3 of 8 files', '4 of 8 files'])
    # It ends when its input does, which is none; a status that stops the command shows that it is asked meanwhile.
    waiting = [sys.executable, '-c', 'import time; time.sleep(60)']
    with pytest.raises(StopIteration):
        shell.run(waiting, 'compiling', status=lambda: next(shown))
    assert 'compiling: 4 of 8 files' in capsys.readouterr().out
    with pytest.raises(CommandError, match='EOFError'):
        shell.run(command, 'asking')
