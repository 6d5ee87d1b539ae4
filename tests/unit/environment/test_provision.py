"""The steps of a set-up: what is run, what is refused, and how it goes on after a failure."""

import json
import subprocess
from pathlib import Path

import pytest

from mmswin.environment import hardware, provision
from mmswin.environment.plan import Plan
from mmswin.environment.shell import CommandError, explain
from mmswin.environment.stacks import MMPRETRAIN, STACKS, TORCH_CPU_INDEX, SetupError

ROOT = Path(__file__).resolve().parents[3]


class RecordingShell:
    """Stands for Shell: remembers commands; those with a text of ``fail`` in them fail with its output."""

    def __init__(self, fail=(), settings=''):
        self.commands, self.environments, self.lines = [], [], []
        self.fail, self.settings = dict(fail), settings

    def say(self, text):
        self.lines.append(text)

    def run(self, command, what, env=None, status=str):
        text = ' '.join(command)
        self.commands.append(text)
        self.environments.append(dict(env or {}))
        for part, output in self.fail.items():
            if part in text:
                raise CommandError(f'{what} failed. {explain(output) or output}\nlog')
        if '--target' in command:
            Path(command[command.index('--target') + 1]).mkdir()
        return self.settings if 'config list' in text else str(self.cache) if 'cache dir' in text else ''

    cache = Path('nowhere')


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.setattr(hardware, 'check_compiler', lambda environ: None)
    venv = tmp_path / 'venv'
    settings = dict(system='linux', version=(3, 11, 7), build='cpu', environ={'PATH': ''})
    return Plan(root=ROOT, stack=STACKS['openmmlab'], venv=venv, **settings)


@pytest.fixture
def made(plan):
    plan.venv.mkdir()
    return plan


def test_a_folder_of_somebody_else_is_left_alone(made):
    (made.venv / 'pyvenv.cfg').write_text('mine')
    shell = RecordingShell()
    with pytest.raises(SetupError, match='did not make it.*VENV='):
        provision.create_environment(made, shell)
    assert shell.commands == []
    assert [path.name for path in made.venv.iterdir()] == ['pyvenv.cfg']


def test_an_environment_of_another_python_is_named(made):
    made.stamp.write_text(json.dumps(dict(python=[3, 10])))
    with pytest.raises(SetupError, match=r'Python 3\.10 and this is 3\.11\.7'):
        provision.create_environment(made, RecordingShell())


def test_an_environment_that_was_interrupted_at_its_beginning_is_gone_on_with(made):
    made.stamp.write_text(json.dumps(dict(python=made.version[:2])))
    shell = RecordingShell()
    provision.create_environment(made, shell)
    assert [' -m venv ' in command for command in shell.commands] == [True]


@pytest.mark.parametrize('system', ['linux', 'darwin'])
def test_all_is_resolved_at_once_under_the_pins(made, system):
    made.system = system
    shell = RecordingShell()
    provision.install(made, shell)
    words = shell.commands[-1].split()
    assert set(map(made.stack.pin, made.stack.distributions)) <= set(words)
    assert words[words.index('--constraint') + 1] == str(made.venv / 'constraints.txt')
    assert words[words.index('--reinstall-package') + 1] == 'mmcv'
    assert words[words.index('--editable') + 1] == str(ROOT)
    assert ('triton' in words) == (system == 'linux')
    assert ('torch==2.13.0+cpu' in words) == (system == 'linux')


def test_cpu_torch_comes_from_its_own_index_where_no_other_has_it(made):
    shell = RecordingShell(
        {' torch==': 'there is no version of torch==2.13.0+cpu'}, "global.extra-index-url='file:///a'"
    )
    with pytest.raises(CommandError, match='no CPU build.*TORCH_BUILD=cuda'):
        provision.install(made, shell)
    assert [env['UV_INDEX'] for env in shell.environments[-2:]] == ['file:///a', f'file:///a {TORCH_CPU_INDEX}']


def test_no_network_is_not_taken_for_a_missing_release(made):
    shell = RecordingShell({' torch==': 'dns error'})
    with pytest.raises(CommandError, match='No package index'):
        provision.install(made, shell)
    assert sum(' torch==' in command for command in shell.commands) == 1


def test_a_compiler_is_asked_for_only_where_mmcv_is_not_cached(made, tmp_path, monkeypatch):
    def missing(environ):
        raise SetupError('No C++ compiler')

    monkeypatch.setattr(hardware, 'check_compiler', missing)
    shell = RecordingShell()
    shell.cache = tmp_path / 'cache'
    with pytest.raises(SetupError, match=r'No C\+\+'):
        provision.install(made, shell)
    folder = shell.cache / 'sdists-v11/pypi/mmcv/2.1.0/revision/shard'
    folder.mkdir(parents=True)
    (folder / 'mmcv-2.1.0-cp311-cp311-linux_x86_64.whl').touch()
    provision.install(made, shell)


@pytest.mark.parametrize(('own', 'expected'), [({}, 'pypi.org'), ({'UV_DEFAULT_INDEX': 'https://uv'}, 'https://uv')])
def test_the_settings_name_the_index(made, own, expected):
    made.environ.update(own)
    provision.install(made, RecordingShell())
    assert expected in (made.venv / 'uv.toml').read_text()


def test_indexes_are_those_of_pip_unless_uv_has_its_own(made):
    settings = (
        ":env:.index-url='https://mine'\nglobal.index-url='https://all'\nglobal.extra-index-url='file:///a file:///b'\n"
        "global.find-links='/c\n/d'\nglobal.cert='/e'\nglobal.timeout='60'"
    )
    settings = settings.replace('/c\n/d', '/c\\n/d')  # as pip prints it
    made.environ.update(SSL_CERT_FILE='/own', MMSWIN_CACHE='/cache')
    env = provision.installer_environment(made, RecordingShell(settings=settings))
    assert (env['UV_DEFAULT_INDEX'], env['UV_INDEX']) == ('https://mine', 'file:///a file:///b')
    assert (env['UV_FIND_LINKS'], env['SSL_CERT_FILE'], env['UV_CACHE_DIR']) == ('/c,/d', '/own', '/cache')
    assert env['UV_COMPILE_BYTECODE'] == '1'
    assert env['CXX'].endswith('_compile_mmcv.sh')
    made.environ.update(UV_DEFAULT_INDEX='https://uv', MAX_JOBS='3', CXX='clang++')
    env = provision.installer_environment(made, RecordingShell(settings=settings))
    assert (env['UV_DEFAULT_INDEX'], env['MAX_JOBS'], env['CXX']) == ('https://uv', '3', 'clang++')


def test_the_build_shows_how_far_it_is(tmp_path):
    assert provision.compile_status(tmp_path / 'build') == ''
    folder = tmp_path / 'build' / 'temp'
    folder.mkdir(parents=True)
    objects = [folder / f'{i}.o' for i in range(8)]
    (folder / 'build.ninja').write_text('\n'.join(f'build {path}: compile {path}.cpp' for path in objects))
    for path in objects[:3]:
        path.touch()
    assert provision.compile_status(tmp_path / 'build').startswith('3 of 8')
    for path in objects:
        path.touch()
    assert provision.compile_status(tmp_path / 'build') == ''


def test_a_set_up_is_complete_once_the_doctor_agrees(plan, monkeypatch):
    status = 1
    monkeypatch.setattr(
        subprocess, 'run', lambda command, **_: subprocess.CompletedProcess(command, status, 'FAIL cv2', '')
    )
    monkeypatch.setattr(provision, 'is_current', lambda plan: 'fingerprint' in plan.recorded())
    with pytest.raises(SetupError, match='FAIL cv2'):
        provision.set_up(plan, RecordingShell())
    assert 'fingerprint' not in plan.recorded()
    plan.program('python').parent.mkdir()
    plan.program('python').touch()
    status = 0
    assert provision.set_up(plan, RecordingShell())
    assert plan.recorded()['fingerprint'] == plan.fingerprint()
    assert not provision.set_up(plan, RecordingShell())


@pytest.mark.parametrize('name', provision.BESIDE)
def test_reference_libraries_are_installed_once_for_each_set_of_pins(made, name):
    shell = RecordingShell()
    folder = made.venv / name
    provision.install_reference_libraries(made, shell)
    assert any(f'--no-deps --target {folder}' in command for command in shell.commands)
    count = len(shell.commands)
    provision.install_reference_libraries(made, shell)
    assert len(shell.commands) == count
    (folder / f'mmswin-{name}.txt').write_text('other')
    provision.install_reference_libraries(made, shell)
    assert f'--target {folder}' in shell.commands[-1]


def test_reference_libraries_that_cannot_be_had_stop_nothing(made):
    shell = RecordingShell({'--target': 'dns error'})
    provision.install_reference_libraries(made, shell)
    assert 'not checked' in shell.lines[-1]
    assert not any((made.venv / name).exists() for name in provision.BESIDE)


def test_mmpretrain_is_installed_apart_with_what_it_needs(made):
    shell = RecordingShell()
    provision.install_mmpretrain(made, shell)
    command = shell.commands[-1]
    assert f'--no-deps --target {made.venv / "pretrain"} {MMPRETRAIN[made.stack.name]}' in command
    assert 'pretrain.txt' in command
    failing = RecordingShell({'--target': 'dns error'})
    (made.venv / 'pretrain' / 'mmswin-pretrain.txt').write_text('other')
    with pytest.raises(SetupError):
        provision.install_mmpretrain(made, failing)
    assert not (made.venv / 'pretrain').exists()
