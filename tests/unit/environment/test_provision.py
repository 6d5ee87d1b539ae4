"""The set-up, step by step, with a pip that only writes down what it was asked for: order, choices, refusals."""

import io
import json
import shutil
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from mmswin.environment import machine, provision, shell, stacks, wheels
from mmswin.environment.machine import Gpu
from mmswin.environment.provision import Plan
from mmswin.environment.shell import CommandFailed
from mmswin.environment.stacks import EnvironmentProblem

ROOT = Path(__file__).resolve().parents[3]


class RecordingShell:
    """Stands for Shell: remembers commands and lines; ``fail`` maps a part of a command to the output it fails with."""

    def __init__(self, fail=None, answers=None):
        self.commands, self.lines = [], []
        self.fail, self.answers = fail or {}, answers or {}
        self.log = Path('setup.log')

    def step(self, number, total, text):
        self.lines.append(f'[{number}/{total}] {text}')

    def note(self, text):
        self.lines.append(text)

    def clock(self):
        return 0.0

    def run(self, command, what, env=None, cwd=None, status=None):
        text = ' '.join(map(str, command))
        self.commands.append(text)
        for part, output in self.fail.items():
            if part in text:
                raise CommandFailed(f'{what} failed.', output)
        return next((answer for part, answer in self.answers.items() if part in text), '')


@pytest.fixture
def plan(tmp_path):
    return Plan(
        root=ROOT,
        stack=stacks.STACKS['openmmlab'],
        venv=tmp_path / 'venv',
        cache=tmp_path / 'cache',
        system='linux',
        version=(3, 11, 7),
        build='cpu',
        environ={'PATH': ''},
    )


TORCH_ANSWERS = {'import json, torch': 'noise\n["2.13.0+cpu", null]'}


@pytest.mark.parametrize('version', [(3, 9, 18), (3, 13, 0), (2, 7, 18)])
def test_another_python_is_refused(version):
    with pytest.raises(EnvironmentProblem, match=rf'Python {version[0]}\.{version[1]}.*3\.10 to 3\.12.*PYTHON='):
        stacks.check_python(version)


def test_unknown_stack_lists_what_there_is():
    with pytest.raises(EnvironmentProblem, match="'mm'; choose STACK=openmmlab or STACK=onedl"):
        stacks.find_stack('mm')


@pytest.mark.parametrize('name', stacks.STACKS)
def test_constraints_pin_the_stack_within_its_own_ranges(plan, name):
    plan.stack = stacks.STACKS[name]
    provision.check_pins(plan)
    pins = stacks.read_pins(plan.constraints)
    assert pins['torch'] == stacks.TORCH
    for companion in (*stacks.COMPANIONS, stacks.TRITON):
        assert companion in pins


def test_another_torch_brings_its_own_triton(plan):
    plan.venv.mkdir()
    assert stacks.TRITON in stacks.read_pins(provision.effective_constraints(plan))
    plan.torch = '2.11.0'
    pins = stacks.read_pins(provision.effective_constraints(plan))
    assert pins['torch'] == '2.11.0'
    assert stacks.TRITON not in pins


@pytest.mark.parametrize('system', ['linux', 'darwin'])
def test_triton_is_installed_where_it_exists(plan, system):
    plan.venv.mkdir()
    plan.system = system
    recording = RecordingShell()
    provision.install_stack(plan, recording)
    assert (stacks.TRITON in recording.commands[0].split()) == (system == 'linux')


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('setuptools==80.10.2', 'setuptools==82.0.0', 'setuptools 82.0.0: releases from 81 on have no pkg_resources'),
        ('mmcv==2.1.0', 'mmcv==2.2.0', "pins mmcv 2.2.0, but the stack 'openmmlab' is made of mmcv==2.1.0"),
    ],
)
def test_pins_that_cannot_work_are_refused(plan, tmp_path, old, new, message):
    text = plan.constraints.read_text()
    assert old in text
    (tmp_path / 'constraints').mkdir()
    (tmp_path / 'constraints' / 'openmmlab.txt').write_text(text.replace(old, new))
    plan.root = tmp_path
    with pytest.raises(EnvironmentProblem, match=message.replace('.', r'\.')):
        provision.check_pins(plan)


def test_a_folder_of_somebody_else_is_left_alone(plan):
    plan.venv.mkdir()
    (plan.venv / 'pyvenv.cfg').write_text('mine')
    recording = RecordingShell()
    with pytest.raises(EnvironmentProblem, match='did not make it. Remove it, or choose another place: make setup'):
        provision.create_environment(plan, recording)
    assert recording.commands == []
    assert [path.name for path in plan.venv.iterdir()] == ['pyvenv.cfg']


def test_an_environment_of_another_python_is_named(plan):
    plan.venv.mkdir()
    plan.stamp.write_text(json.dumps(dict(python=[3, 10])))
    with pytest.raises(EnvironmentProblem, match=r'made with Python 3\.10 and this is 3\.11\.7'):
        provision.create_environment(plan, RecordingShell())


def test_cpu_torch_from_where_pip_looks(plan):
    recording = RecordingShell(answers=TORCH_ANSWERS)
    plan.venv.mkdir()
    assert provision.install_torch(plan, recording) == ('2.13.0+cpu', None)
    assert 'torch==2.13.0+cpu' in recording.commands[0]
    assert not any('--index-url' in command for command in recording.commands)
    assert recording.lines == ['[3/7] torch 2.13.0 for the CPU']


def test_cpu_torch_from_its_own_index(plan):
    plan.venv.mkdir()
    recording = RecordingShell({'pip download': 'ERROR: No matching distribution found for torch'}, TORCH_ANSWERS)
    provision.install_torch(plan, recording)
    assert f'--no-deps --index-url {stacks.TORCH_CPU_INDEX} torch==2.13.0+cpu' in recording.commands[1]


def test_no_network_is_not_taken_for_a_missing_release(plan):
    plan.venv.mkdir()
    recording = RecordingShell({'pip download': 'Max retries exceeded'})
    with pytest.raises(CommandFailed):
        provision.install_torch(plan, recording)
    assert len(recording.commands) == 1


def test_cuda_torch_where_there_is_a_gpu(plan):
    plan.venv.mkdir()
    plan.build = 'cuda'
    recording = RecordingShell(answers={'import json, torch': '["2.13.0", "13.0"]'})
    assert provision.install_torch(plan, recording) == ('2.13.0', '13.0')
    assert not any('+cpu' in command for command in recording.commands)


def test_another_torch_replaces_the_pin(plan):
    plan.venv.mkdir()
    plan.torch = '2.9.1'
    pins = stacks.read_pins(provision.effective_constraints(plan))
    assert pins['torch'] == '2.9.1'
    assert pins['mmcv'] == '2.1.0'


@pytest.mark.parametrize(
    ('gpus', 'cuda', 'nvcc', 'expected'),
    [
        ([], None, '13.0', []),
        ([], '13.0', '13.0', []),
        ([Gpu('a', '9.0')], None, '13.0', []),
        ([Gpu('a', '9.0'), Gpu('b', '8.0'), Gpu('c', '9.0')], '13.0', '13.1', ['8.0', '9.0']),
    ],
)
def test_what_mmcvs_ops_are_compiled_for(plan, gpus, cuda, nvcc, expected):
    plan.gpus, plan.nvcc = gpus, nvcc
    assert provision.cuda_architectures(plan, cuda) == expected


def test_an_nvcc_of_another_cuda_is_named_before_anything_is_compiled(plan):
    plan.gpus, plan.nvcc, plan.build = [Gpu('a', '9.0')], '12.4', 'cuda'
    with pytest.raises(EnvironmentProblem, match='built with CUDA 13.0 and nvcc is 12.4.*CUDA_HOME.*TORCH_BUILD=cpu'):
        provision.cuda_architectures(plan, '13.0')


def _wheel(folder, version='2.1.0', names=('mmcv/_ext.cpython-311.so',)):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f'mmcv-{version}-cp311-cp311-linux_x86_64.whl'
    with zipfile.ZipFile(path, 'w') as archive:
        for name in (*names, f'mmcv-{version}.dist-info/METADATA'):
            archive.writestr(name, 'x' * 1000)
    return path


KEY = wheels.WheelKey('mmcv', '2.1.0', '2.13.0+cpu', 'cp311', 'linux-x86_64', 'cpu')


def test_a_wheel_is_built_once(tmp_path):
    built = []

    def build(work):
        built.append(work)
        return _wheel(work)

    notes = []
    first = wheels.ensure_wheel(tmp_path, KEY, build, notes.append)
    second = wheels.ensure_wheel(tmp_path, KEY, build, notes.append)
    assert first == second
    assert first.is_file()
    assert len(built) == 1
    assert not built[0].exists()
    other = wheels.ensure_wheel(tmp_path, replace(KEY, torch='2.14.0'), build, notes.append)
    assert other != first
    assert len(built) == 2


def test_a_damaged_wheel_is_built_again(tmp_path):
    wheel = wheels.ensure_wheel(tmp_path, KEY, _wheel, print)
    wheel.write_bytes(wheel.read_bytes()[:-200])
    notes = []
    again = wheels.ensure_wheel(tmp_path, KEY, _wheel, notes.append)
    assert 'is damaged' in notes[0]
    assert wheels.wheel_fault(again, '2.1.0') is None


@pytest.mark.parametrize(
    ('arguments', 'fault'),
    [(dict(names=('mmcv/ops.py',)), 'no compiled mmcv/_ext'), (dict(version='2.2.0'), 'not version 2.1.0')],
)
def test_a_useless_wheel_never_enters_the_cache(tmp_path, arguments, fault):
    with pytest.raises(EnvironmentProblem, match=fault):
        wheels.ensure_wheel(tmp_path, KEY, lambda work: _wheel(work, **arguments), print)
    assert not list(tmp_path.rglob('*.whl'))


def test_the_build_shows_how_far_it_is(tmp_path):
    assert wheels.compile_status(tmp_path / 'build', 0) == 'preparing'
    folder = tmp_path / 'build' / 'temp'
    folder.mkdir(parents=True)
    objects = [folder / f'{i}.o' for i in range(8)]
    (folder / 'build.ninja').write_text('\n'.join(f'build {path}: compile {path}.cpp' for path in objects))
    assert wheels.compile_status(tmp_path / 'build', 5) == '0 of 8 files'
    for path in objects[:4]:
        path.touch()
    assert wheels.compile_status(tmp_path / 'build', 60) == '4 of 8 files, about 1:00 left'
    for path in objects:
        path.touch()
    assert wheels.compile_status(tmp_path / 'build', 60) == '8 of 8 files, linking'


def test_the_build_leaves_out_debug_information_and_cuda():
    env = wheels.build_environment({'CFLAGS': '-march=native', 'PATH': '/bin'}, Path('/venv/bin'), 2, [])
    # CFLAGS takes the place of Python's own flags, optimisation included; the user's come last and win.
    assert env['CFLAGS'] == '-O2 -DNDEBUG -g0 -march=native'
    assert (env['MMCV_WITH_OPS'], env['MAX_JOBS'], env['FORCE_CUDA']) == ('1', '2', '0')
    assert env['PATH'].startswith('/venv/bin')
    env = wheels.build_environment({'MAX_JOBS': '1'}, Path('/venv/bin'), 2, ['9.0'])
    assert (env['FORCE_CUDA'], env['TORCH_CUDA_ARCH_LIST'], env['MAX_JOBS']) == ('1', '9.0', '1')


def test_a_missing_compiler_is_named():
    with pytest.raises(EnvironmentProblem, match=r"No C\+\+ compiler: 'c\+\+' is not on the PATH.*apt install g\+\+"):
        machine.check_compiler({'PATH': '/nowhere'})


def test_a_broken_compiler_is_named(tmp_path):
    fake = tmp_path / 'c++'
    fake.write_text('#!/bin/sh\necho "error: unknown option" >&2\nexit 1\n')
    fake.chmod(0o755)
    with pytest.raises(EnvironmentProblem, match=r'cannot compile a C\+\+17 program: error: unknown option'):
        machine.check_compiler({'PATH': str(tmp_path)})


def test_missing_headers_are_named(tmp_path):
    with pytest.raises(EnvironmentProblem, match=r'no .*Python\.h'):
        machine.check_headers(tmp_path)


def test_a_full_disk_is_named(tmp_path):
    usage = shutil.disk_usage(tmp_path)._replace(free=2**30)
    with pytest.raises(EnvironmentProblem, match='1.0 GiB free and the set-up needs about 5 GiB'):
        machine.check_disk(tmp_path / 'not' / 'yet', 5, lambda _: usage)


def test_compilers_fit_into_memory():
    assert machine.compile_jobs(8, 100.0) == 8
    assert machine.compile_jobs(8, 7.0) == 3
    assert machine.compile_jobs(8, 0.5) == 1
    assert machine.compile_jobs(2, None) == 2


def test_gpus_are_what_a_working_driver_reports():
    assert machine.find_gpus(lambda _: 'NVIDIA H200, 9.0\nNVIDIA A100, 8.0\n') == [
        Gpu('NVIDIA H200', '9.0'),
        Gpu('NVIDIA A100', '8.0'),
    ]
    assert machine.find_gpus(lambda _: None) == []


def test_nvcc():
    assert machine.find_nvcc(lambda _: 'Cuda compilation tools, release 13.0, V13.0.88', {}) == '13.0'
    assert machine.find_nvcc(lambda _: None, {'CUDA_HOME': '/opt/cuda'}) is None


@pytest.mark.parametrize(
    ('text', 'part'),
    [
        ('urllib3: Max retries exceeded with url', 'No package index can be reached'),
        ("ModuleNotFoundError: No module named 'pkg_resources'", "pip install 'setuptools<81'"),
        ('OSError: [Errno 28] No space left on device', 'disk is full'),
        ('c++: fatal error: Killed signal terminated program cc1plus', 'MAX_JOBS=1'),
        ('ensurepip is not available', 'python3-venv'),
    ],
)
def test_failures_of_a_command_are_explained(tmp_path, text, part):
    script = tmp_path / 'fail.py'
    script.write_text(f'print({text!r}); raise SystemExit(1)')
    log = tmp_path / 'setup.log'
    with pytest.raises(CommandFailed) as error:
        shell.Shell(log, io.StringIO(), poll=0.01).run([sys.executable, str(script)], 'installing')
    assert str(error.value).startswith('installing failed. ')
    assert part in str(error.value)
    assert str(log) in str(error.value)
    assert text in log.read_text()


def test_a_long_command_shows_a_line_now_and_then(tmp_path):
    out = io.StringIO()
    command = [sys.executable, '-c', 'import time; time.sleep(0.5)']
    shell.Shell(tmp_path / 'log', out, poll=0.02, quiet=0.1).run(command, 'compiling', status=lambda: '3 of 8 files')
    assert out.getvalue().count('compiling, 0:00: 3 of 8 files') >= 2


def test_set_up_does_nothing_when_all_is_there(plan, monkeypatch):
    monkeypatch.setattr(provision, 'is_current', lambda _: True)
    assert provision.set_up(plan, RecordingShell()) is False


def test_set_up_in_order(plan, monkeypatch):
    monkeypatch.setattr(provision, 'check', lambda plan, shell: shell.step(7, 7, 'checking'))
    monkeypatch.setattr(wheels, 'ensure_wheel', lambda cache, key, build, note: cache / key.folder / 'mmcv.whl')
    monkeypatch.setattr(machine, 'check_disk', lambda *_: None)
    monkeypatch.setattr(machine, 'check_compiler', lambda *_: 'c++')
    recording = RecordingShell(answers=TORCH_ANSWERS)
    assert provision.set_up(plan, recording) is True
    assert [line[:5] for line in recording.lines] == [f'[{i}/7]' for i in range(1, 8)]
    recorded = json.loads(plan.stamp.read_text())
    assert recorded['fingerprint'] == plan.fingerprint()
    installs = [command for command in recording.commands if ' install ' in command]
    # Never without the pins, except what has no dependencies of its own to choose.
    assert all('-c ' in command or '--no-deps' in command for command in installs)
    plan.torch = '2.9.1'
    assert recorded['fingerprint'] != plan.fingerprint()


@pytest.mark.parametrize(
    ('change', 'expected'), [({}, True), ({'mmcv': '2.0.1'}, False), ({'mmdet': None}, False), ({'torch': None}, False)]
)
def test_a_complete_environment_is_recognised(plan, monkeypatch, change, expected):
    plan.venv.mkdir()
    plan.stamp.write_text(json.dumps(dict(python=[3, 11], fingerprint=plan.fingerprint())))
    versions = {**dict(plan.stack.versions), 'torch': '2.13.0+cpu', 'mmswin': '0.1.0', **change}
    monkeypatch.setattr(machine, 'ask', lambda command: json.dumps(versions))
    assert provision.is_current(plan) is expected


def test_an_environment_that_cannot_run_or_was_left_half_made_is_not_complete(plan, monkeypatch):
    assert provision.is_current(plan) is False
    plan.venv.mkdir()
    plan.stamp.write_text(json.dumps(dict(python=[3, 11])))
    assert provision.is_current(plan) is False
    plan.stamp.write_text(json.dumps(dict(fingerprint=plan.fingerprint())))
    monkeypatch.setattr(machine, 'ask', lambda command: None)
    assert provision.is_current(plan) is False
