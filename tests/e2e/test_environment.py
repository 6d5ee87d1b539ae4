"""The doctor, the set-up's commands and the package's imports, in processes of their own."""

import ctypes
import shutil
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


@pytest.mark.skipif(shutil.which('c++') is None, reason='needs a C++ compiler')
def test_what_is_in_front_of_the_ops_is_compiled_as_one(tmp_path):
    folder = tmp_path / 'ops/csrc/pytorch'
    names = ('pybind', 'nms', 'roi_align', 'cpu/nms')
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        function = f'extern "C" int {name.replace("/", "_")}() {{ return {number}; }}'
        (folder / f'{name}.cpp').write_text(f'#include <vector>\n{function}\n')
    objects = [folder / f'{name}.o' for name in names]
    for path in objects:
        words = ['-MMD', '-MF', f'{path}.d', '-fPIC', '-c', path.with_suffix('.cpp'), '-o', path]
        subprocess.run([ROOT / 'tools/_compile_mmcv.sh', *words], check=True)
    assert objects[1].stat().st_size < objects[3].stat().st_size  # empty
    assert str(folder / 'roi_align.cpp') in (folder / 'pybind.o.d').read_text().split()  # its changes are seen
    library = tmp_path / 'ops.so'
    subprocess.run([ROOT / 'tools/_compile_mmcv.sh', '-shared', *objects, '-o', library], check=True)
    ops = ctypes.CDLL(str(library))
    assert [ops[name.replace('/', '_')]() for name in names] == [0, 1, 2, 3]
