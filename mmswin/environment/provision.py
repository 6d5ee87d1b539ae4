"""The steps of ``make setup``: a virtual environment, and in it, by uv, torch, mmcv's compiled ops, the stack, mmswin.

uv keeps the mmcv that it compiled in the user's cache, under all that went into it, and installs it from there.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from pathlib import Path

from mmswin.environment import hardware, stacks
from mmswin.environment.plan import Plan, choose_build, digest, effective_constraints, installer_settings, is_current
from mmswin.environment.shell import CommandError, Shell
from mmswin.environment.stacks import COMPANIONS, TRITON, SetupError


def set_up(plan: Plan, shell: Shell) -> bool:
    """All steps, unless the environment is current.

    Returns whether anything was done. A SetupError says why a step failed; the next run goes on from there.
    """
    stacks.check_python(plan.version)
    note = choose_build(plan)
    if is_current(plan):
        return False
    if note:
        shell.say(note)
    create_environment(plan, shell)
    install(plan, shell)
    shell.say('[3/3] checking that it fits together')
    command = [str(plan.program('python')), str(plan.root / 'tools' / 'doctor.py')]
    doctor = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if doctor.returncode != 0:
        raise SetupError(f'The environment is complete but does not work:\n{doctor.stdout}{doctor.stderr}')
    stamp = dict(python=plan.version[:2], build=plan.build, gpus=plan.gpus, fingerprint=plan.fingerprint())
    plan.stamp.write_text(json.dumps(stamp))
    return True


def create_environment(plan: Plan, shell: Shell) -> None:
    """Step 1: a virtual environment, unless this project's is there; somebody else's is a SetupError."""
    shell.say(f'[1/3] Python {stacks.dotted(plan.version)} environment in {plan.venv.name}')
    another_place = 'or choose another place: make setup VENV=some-folder'
    if plan.venv.exists() and any(plan.venv.iterdir()):
        if not plan.stamp.exists():
            raise SetupError(f'{plan.venv} is there, and `make setup` did not make it. Remove it, {another_place}')
        recorded = plan.recorded().get('python')
        if recorded != list(plan.version[:2]):
            raise SetupError(
                f'{plan.venv} was made with Python {stacks.dotted(tuple(recorded or ()))} and this is '
                f'{stacks.dotted(plan.version)}. Remove it (rm -r {plan.venv.name}), {another_place}'
            )
        if plan.program('python').exists():
            return
    plan.venv.mkdir(parents=True, exist_ok=True)
    plan.stamp.write_text(json.dumps(dict(python=plan.version[:2])))
    shell.run([plan.python, '-m', 'venv', str(plan.venv)], what='creating the environment')


def install(plan: Plan, shell: Shell) -> None:
    """Step 2: everything, resolved at once under the pins; mmcv is compiled unless uv has it for this torch."""
    stack = plan.stack
    pins = [stack.pin(name) for name in stack.distributions]
    shell.say(f'[2/3] {plan.torch_requirement()}, {", ".join(pins)}, mmswin')
    env = installer_environment(plan, shell)
    cache = Path(shell.run([str(plan.program('uv')), 'cache', 'dir'], what='asking uv', env=env).strip())
    sources = f'sdists-*/**/{stack.mmcv}/{stack.versions[stack.mmcv]}/*'
    if not any(cache.glob(f'{sources}/*/*-cp{plan.version[0]}{plan.version[1]}-*.whl')):
        hardware.check_compiler(plan.environ)
        shell.say(f'      mmcv is compiled once, by {env["MAX_JOBS"]} compilers at a time, and kept in {cache}')
    settings, constraints = plan.venv / 'uv.toml', plan.venv / 'constraints.txt'
    # The settings name it: there it can be told for how long its files are good.
    index = env.pop('UV_DEFAULT_INDEX', '') or env.pop('UV_INDEX_URL', '') or 'https://pypi.org/simple'
    settings.write_text(installer_settings(plan, index), encoding='utf-8')
    constraints.write_text(effective_constraints(plan), encoding='utf-8')
    requirements = [
        plan.torch_requirement(),
        *pins,
        *COMPANIONS,
        'pip',
        stacks.SETUPTOOLS,
        'wheel',
        'opencv-python-headless',
    ]
    if plan.system == 'linux':
        requirements.append(TRITON)
    # An mmcv of this version but compiled for another torch may be there.
    options = ['--config-file', str(settings), '--constraint', str(constraints), '--reinstall-package', stack.mmcv]
    command = uv_install(plan, *options, *requirements, '--editable', str(plan.root))

    def status() -> str:
        return next(map(compile_status, cache.glob(f'{sources}/src/build')), '')

    try:
        shell.run(command, what='installing', env=env, status=status)
    except CommandError as error:
        # PyPI has no CPU builds for Linux; the index of torch itself has, and is asked where no other has one.
        if '+cpu' not in requirements[0] or 'no CPU build' not in str(error):
            raise
        env['UV_INDEX'] = f'{env.get("UV_INDEX", "")} {stacks.TORCH_CPU_INDEX}'.strip()
        shell.run(command, what='installing', env=env, status=status)


def uv_install(plan: Plan, *arguments: str) -> list[str]:
    """The command that installs into the environment."""
    return [str(plan.program('uv')), 'pip', 'install', '--python', str(plan.program('python')), *arguments]


def installer_environment(plan: Plan, shell: Shell) -> dict[str, str]:
    """Install uv where it is missing, and say what it runs with: the indexes of pip, which it does not read."""
    pip = [str(plan.program('python')), '-m', 'pip', '--disable-pip-version-check']
    if not plan.program('uv').exists():
        shell.run([*pip, 'install', f'uv=={stacks.UV}'], what='installing uv')
    found = pip_settings(shell.run([*pip, 'config', 'list'], what='asking pip'))
    compiler = str(plan.root / 'tools' / '_compile_mmcv.sh')
    settings = {
        'UV_DEFAULT_INDEX': found.get('index-url', [])[:1],
        'UV_INDEX': found.get('extra-index-url', []),
        'UV_FIND_LINKS': [','.join(found.get('find-links', []))],
        'UV_INSECURE_HOST': found.get('trusted-host', []),
        'SSL_CERT_FILE': found.get('cert', [])[:1],
        'UV_INDEX_STRATEGY': ['unsafe-best-match'],  # as pip does
        'UV_CACHE_DIR': [plan.environ.get('MMSWIN_CACHE', '')],
        # Where Python may not write bytecode, each start compiles torch and the rest again: 23 s of a core instead of 7.
        'UV_COMPILE_BYTECODE': ['1'],
        'UV_COMPILE_BYTECODE_TIMEOUT': ['0'],  # none
        'MAX_JOBS': [str(hardware.compile_jobs(hardware.usable_cores(), hardware.free_memory()))],
        # The same ops in a third of the time; it is named without quotes where it is called.
        'CXX': [compiler] if plan.system == 'linux' and plan.build == 'cpu' and ' ' not in compiler else [],
    }
    return {name: ' '.join(values) for name, values in settings.items() if any(values)} | plan.environ


def pip_settings(text: str) -> dict[str, list[str]]:
    """Values by option of what ``pip config list`` prints, those of the environment first."""
    settings: dict[str, list[str]] = {}
    for line in sorted(text.splitlines(), key=lambda line: not line.startswith(':env:')):
        name, _, value = line.partition('=')
        if value.startswith(("'", '"')):
            known = settings.setdefault(name.rpartition('.')[2], [])
            known += [word for word in ast.literal_eval(value).split() if word not in known]
    return settings


def compile_status(folder: Path) -> str:
    """How far a build in ``folder`` is: '57 of 143 files of mmcv compiled', or '' when nothing is compiled now."""
    for plan in folder.rglob('build.ninja'):
        objects = re.findall(r'^build (\S+\.o): ', plan.read_text(errors='replace'), re.MULTILINE)
        ready = sum(Path(path).exists() for path in objects)
        if ready < len(objects):
            return f'{ready} of {len(objects)} files of mmcv compiled'
    return ''


# Libraries that tests need besides, each set in a folder of the environment's by the name of its pins in constraints/.
BESIDE = {
    'peers': 'timm, torchvision and transformers, for the tests that compare with them',
    'inference': 'SAHI and supervision, for the tests of what predicts with our files and takes our results',
    'export': 'onnx, onnxruntime, openvino and nncf, for the tests of export',
}


def install_reference_libraries(plan: Plan, shell: Shell) -> None:
    """The libraries that tests need besides, in folders of their own: what constraints/ pins for them, nothing more.

    mmdet imports transformers wherever it is installed, and the index's torchvision is a CUDA build: in the environment
    itself they would slow every start and change what OpenMMLab's packages find. A failure is said and no error: the
    tests in question say then that they checked nothing.
    """
    for name, what in BESIDE.items():
        try:
            _install_apart(plan, shell, name, what)
        except CommandError as error:
            shell.say(f'not installed, so what needs them is not checked: {str(error).splitlines()[0]}')


def install_mmpretrain(plan: Plan, shell: Shell) -> None:
    """mmpretrain for classification and pretraining, in the environment's folder ``pretrain``.

    See :mod:`mmswin.environment.importable` for why it lies apart. constraints/pretrain.txt pins what it needs.
    """
    pin = stacks.MMPRETRAIN[plan.stack.name]
    _install_apart(plan, shell, 'pretrain', f'{pin}, for classification and pretraining', pin)


def _install_apart(plan: Plan, shell: Shell, name: str, what: str, *requirements: str) -> None:
    """Install the requirements and what constraints/NAME.txt pins into the environment's folder NAME, nothing more."""
    pins = plan.root / 'constraints' / f'{name}.txt'
    folder = plan.venv / name
    stamp = folder / f'mmswin-{name}.txt'
    parts = (*requirements, pins.read_text(encoding='utf-8'))
    fingerprint = digest(*parts)
    if stamp.is_file() and stamp.read_text() == fingerprint:
        return
    shutil.rmtree(folder, ignore_errors=True)
    shell.say(what)
    command = uv_install(plan, '--no-deps', '--target', str(folder), *requirements, '--requirements', str(pins))
    try:
        shell.run(command, what=f'installing {what}', env=installer_environment(plan, shell))
    except CommandError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    stamp.write_text(fingerprint)
