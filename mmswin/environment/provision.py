"""The steps of ``make setup``: a virtual environment with torch, mmcv's compiled ops, the stack and mmswin itself."""

from __future__ import annotations

import json
import platform
import re
import subprocess
from pathlib import Path

from mmswin.environment import machine, stacks, wheels
from mmswin.environment.plan import Plan, choose_build, is_current
from mmswin.environment.shell import CommandFailed, Shell, diagnose
from mmswin.environment.stacks import COMPANIONS, EnvironmentProblem

# What a build of mmcv and the installed packages need, in GiB; torch's CUDA build brings several more.
DISK_CPU = 5.0
DISK_CUDA = 15.0
STEPS = 7


def check_pins(plan: Plan) -> None:
    """Raises EnvironmentProblem when constraints and stack disagree, or setuptools would lack pkg_resources."""
    pins = stacks.read_pins(plan.constraints)
    for name in plan.stack.distributions:
        if pins.get(stacks.normalize(name)) != plan.stack.version(name):
            raise EnvironmentProblem(
                f'{plan.constraints} pins {name} {pins.get(stacks.normalize(name))}, but the stack '
                f'{plan.stack.name!r} is made of {plan.stack.pin(name)}. Make them agree.'
            )
    setuptools = pins.get('setuptools', '')
    if not setuptools.split('.')[0].isdigit() or int(setuptools.split('.')[0]) >= stacks.SETUPTOOLS_BELOW:
        raise EnvironmentProblem(
            f'{plan.constraints} pins setuptools {setuptools or "not at all"}: releases from '
            f'{stacks.SETUPTOOLS_BELOW} on have no pkg_resources, which mmcv and mmengine need. Pin 80.10.2.'
        )


def create_environment(plan: Plan, shell: Shell) -> None:
    """Step 1: an empty virtual environment, unless this project's is there already.

    Raises:
        EnvironmentProblem: the folder is there and somebody else's, or its Python is another one.
    """
    shell.step(1, STEPS, f'Python {stacks.dotted(plan.version)} environment in {plan.venv.name}')
    if plan.venv.exists() and any(plan.venv.iterdir()):
        if not plan.stamp.exists():
            raise EnvironmentProblem(
                f'{plan.venv} is there, and `make setup` did not make it. Remove it, or choose another place: '
                'make setup VENV=some-folder'
            )
        recorded = plan.recorded().get('python')
        if recorded != list(plan.version[:2]) or not plan.interpreter.exists():
            raise EnvironmentProblem(
                f'{plan.venv} was made with Python {stacks.dotted(tuple(recorded or ()))} and this is '
                f'{stacks.dotted(plan.version)}. Remove it (rm -r {plan.venv.name}), or choose another place: '
                'make setup VENV=some-folder'
            )
        return
    plan.venv.mkdir(parents=True, exist_ok=True)
    plan.stamp.write_text(json.dumps(dict(python=plan.version[:2])))
    shell.run([plan.python, '-m', 'venv', str(plan.venv)], what='creating the environment')


def install_tools(plan: Plan, shell: Shell) -> None:
    """Step 2: pip, a setuptools that mmcv can be built with, ninja."""
    shell.step(2, STEPS, 'pip, setuptools, ninja')
    names = ['pip', f'setuptools<{stacks.SETUPTOOLS_BELOW}', 'wheel', 'ninja']
    shell.run(plan.pip('install', '--upgrade', '-c', str(plan.constraints), *names), what='installing the tools')


def effective_constraints(plan: Plan) -> Path:
    """The constraints with the torch that was asked for; a copy inside the environment."""
    text = re.sub(r'^torch==\S+', f'torch=={plan.torch}', plan.constraints.read_text(encoding='utf-8'), flags=re.M)
    if plan.torch != stacks.TORCH:  # each release of torch has its own
        text = re.sub(rf'^{stacks.TRITON}==.*\n', '', text, flags=re.M)
    path = plan.venv / 'constraints.txt'
    path.write_text(text, encoding='utf-8')
    return path


def install_torch(plan: Plan, shell: Shell) -> tuple[str, str | None]:
    """Step 3: torch, the CPU or the CUDA build.

    Returns:
        Its version with the local tag, and its CUDA version (None for a CPU build).
    """
    kind = 'for CUDA' if plan.build == 'cuda' else 'for the CPU'
    shell.step(3, STEPS, f'torch {plan.torch} {kind}')
    constraints = effective_constraints(plan)
    remove_other_build(plan, shell)
    if plan.build == 'cuda' or plan.system == 'darwin':
        wanted = f'torch=={plan.torch}'
    else:
        # Only the index of torch itself has CPU builds for Linux, unless pip is set up to find one elsewhere.
        wanted = f'torch=={plan.torch}+cpu'
        try:
            shell.run(plan.pip('download', '--no-deps', '--dest', str(plan.venv / 'download'), wanted), what='torch')
        except CommandFailed as error:
            if 'No matching distribution' not in error.output or diagnose(error.output):
                raise
            command = plan.pip('install', '--no-deps', '--index-url', stacks.TORCH_CPU_INDEX, wanted)
            try:
                shell.run(command, what=f'installing torch from {stacks.TORCH_CPU_INDEX}')
            except CommandFailed as second:
                raise EnvironmentProblem(
                    f'No CPU build of torch {plan.torch} for Python {stacks.dotted(plan.version[:2])}: the indexes pip '
                    f'is set up with have none, and {stacks.TORCH_CPU_INDEX} has none or cannot be reached. Choose '
                    'another release (make setup TORCH=...), or the standard build, several GB larger, which runs on '
                    f'the CPU as well: make setup TORCH_BUILD=cuda\nThe full log is {shell.log}'
                ) from second
    links = ['--find-links', str(plan.venv / 'download')] if (plan.venv / 'download').exists() else []
    # numpy now, so that torch does not warn about its absence while mmcv is built.
    shell.run(plan.pip('install', '-c', str(constraints), *links, wanted, 'numpy'), what='installing torch')
    for wheel in (plan.venv / 'download').glob('*.whl'):
        wheel.unlink()
    code = 'import json, torch; print(json.dumps([torch.__version__, torch.version.cuda]))'
    version, cuda = json.loads(shell.run([str(plan.interpreter), '-c', code], what='importing torch').splitlines()[-1])
    return version, cuda


def remove_other_build(plan: Plan, shell: Shell) -> None:
    """Uninstalls a torch of the other build: to pip, 2.13.0+cpu satisfies a demand for 2.13.0."""
    if plan.system == 'darwin':
        return
    code = 'import importlib.metadata as m; print(m.version("torch"))'
    version = (machine.ask([str(plan.interpreter), '-c', code]) or '').strip()
    if version and version.endswith('+cpu') != (plan.build == 'cpu'):
        shell.note(f'torch {version} makes way for the other build')
        shell.run(plan.pip('uninstall', '--yes', 'torch'), what='removing the other build of torch')


def cuda_architectures(plan: Plan, cuda: str | None) -> list[str]:
    """Compute capabilities to compile mmcv's ops for; none where torch or the machine is for the CPU.

    Raises:
        EnvironmentProblem: nvcc's major version is not that of torch's CUDA; mmcv would not compile.
    """
    if not plan.gpus or cuda is None:
        return []
    if plan.nvcc is None or plan.nvcc.split('.')[0] != cuda.split('.')[0]:
        raise EnvironmentProblem(
            f"torch {plan.torch} was built with CUDA {cuda} and nvcc is {plan.nvcc}: mmcv's ops cannot be compiled for "
            f'the GPU. Name the folder of a CUDA {cuda} toolkit in CUDA_HOME, choose a torch for CUDA {plan.nvcc} '
            '(make setup TORCH=...), or use the CPU: make setup TORCH_BUILD=cpu'
        )
    return sorted({gpu.capability for gpu in plan.gpus})


def install_mmcv(plan: Plan, shell: Shell, torch: str, cuda: str | None) -> None:
    """Step 4: mmcv with its compiled ops, from the cache or built."""
    name = plan.stack.mmcv
    shell.step(4, STEPS, f'{plan.stack.pin(name)} with its compiled ops')
    architectures = cuda_architectures(plan, cuda)
    device = f'cu{cuda}-{"-".join(architectures)}' if architectures else 'cpu'
    libc = '-'.join(part for part in platform.libc_ver() if part)
    key = wheels.WheelKey(
        distribution=name,
        version=plan.stack.version(name),
        torch=torch,
        python=f'cp{plan.version[0]}{plan.version[1]}',
        platform=f'{plan.system}-{platform.machine()}-{libc}',
        device=device,
    )

    def build(work: Path) -> Path:
        machine.check_compiler(plan.environ)
        machine.check_headers(_include(plan))
        jobs = machine.compile_jobs(machine.usable_cores(), machine.free_memory())
        shell.note(f'compiling it once, with {jobs} compilers at a time; later set-ups take the wheel from the cache')
        env = wheels.build_environment(plan.environ, plan.interpreter.parent, jobs, architectures)
        return wheels.build_wheel(shell, plan.interpreter, plan.stack.pin(name), env, work)

    wheel = wheels.ensure_wheel(plan.cache, key, build, shell.note)
    constraints = str(effective_constraints(plan))
    # --force-reinstall: an mmcv of this version but compiled for another torch may be there.
    shell.run(plan.pip('install', '--force-reinstall', '--no-deps', str(wheel)), what=f'installing {name}')
    shell.run(plan.pip('install', '-c', constraints, str(wheel)), what=f'installing what {name} needs')


def _include(plan: Plan) -> Path | None:
    text = machine.ask([str(plan.interpreter), '-c', 'import sysconfig; print(sysconfig.get_path("include"))'])
    return Path(text.strip()) if text else None


def install_stack(plan: Plan, shell: Shell) -> None:
    """Step 5: mmengine, mmdet, mmseg and what they forget to ask for."""
    stack = plan.stack
    names = [stack.pin(name) for name in stack.distributions]
    shell.step(5, STEPS, ', '.join(stack.pin(name) for name in (stack.mmengine, stack.mmdet, stack.mmseg)))
    constraints = effective_constraints(plan)
    companions = [*COMPANIONS, stacks.TRITON] if plan.system == 'linux' else COMPANIONS
    shell.run(plan.pip('install', '-c', str(constraints), *names, *companions), what='installing the stack')
    # Both builds of OpenCV hold the same package; the last one installed wins. This one needs no libGL.
    headless = f'opencv-python-headless=={stacks.read_pins(plan.constraints)["opencv-python-headless"]}'
    shell.run(plan.pip('install', '--force-reinstall', '--no-deps', headless), what='installing OpenCV')


def install_mmswin(plan: Plan, shell: Shell) -> None:
    """Step 6: this checkout, editable, nothing else touched."""
    shell.step(6, STEPS, 'mmswin, editable')
    command = plan.pip('install', '--no-deps', '--no-build-isolation', '--editable', str(plan.root))
    shell.run(command, what='installing mmswin')


def check(plan: Plan, shell: Shell) -> None:
    """Step 7: the doctor, in the new environment. Raises EnvironmentProblem with what it says when it finds a fault."""
    shell.step(7, STEPS, 'checking that it fits together')
    command = [str(plan.interpreter), str(plan.root / 'tools' / 'doctor.py')]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise EnvironmentProblem(f'The environment is complete but does not work:\n{done.stdout}{done.stderr}')


def set_up(plan: Plan, shell: Shell) -> bool:
    """All steps, unless the environment is current.

    Returns:
        Whether anything was done.

    Raises:
        EnvironmentProblem: a step failed; the message says why and what to do. The next run goes on from there.
    """
    stacks.check_python(plan.version)
    check_pins(plan)
    notes = choose_build(plan)
    if is_current(plan):
        return False
    lock = plan.cache / 'locks' / wheels.digest(str(plan.venv))
    with wheels.locked(lock, wait=lambda: shell.note(f'another set-up is at work in {plan.venv}; waiting for it')):
        if is_current(plan):
            return False
        for note in notes:
            shell.note(note)
        _all_steps(plan, shell)
    return True


def check_build_tools(plan: Plan) -> None:
    """Before anything is fetched: a compiler and Python's headers, unless an mmcv for this Python is in the cache."""
    name = plan.stack.mmcv
    if not wheels.any_cached(plan.cache, name, plan.stack.version(name), f'cp{plan.version[0]}{plan.version[1]}'):
        machine.check_compiler(plan.environ)
        machine.check_headers()


def _all_steps(plan: Plan, shell: Shell) -> None:
    machine.check_disk(plan.venv, DISK_CUDA if plan.build == 'cuda' else DISK_CPU)
    check_build_tools(plan)
    create_environment(plan, shell)
    install_tools(plan, shell)
    torch, cuda = install_torch(plan, shell)
    install_mmcv(plan, shell, torch, cuda)
    install_stack(plan, shell)
    install_mmswin(plan, shell)
    check(plan, shell)
    gpus = [[gpu.name, gpu.capability] for gpu in plan.gpus]
    stamp = dict(python=plan.version[:2], torch=torch, build=plan.build, gpus=gpus, fingerprint=plan.fingerprint())
    plan.stamp.write_text(json.dumps(stamp))
