"""What ``make setup`` is to set up: the choices, the places, and how to tell that nothing is left to do."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmswin.environment import machine, stacks, wheels
from mmswin.environment.stacks import EnvironmentProblem, Stack

# Changes when the steps of the set-up change, so that environments of earlier versions are brought up to date.
REVISION = 1


@dataclass
class Plan:
    """What to set up, and where.

    ``python`` is the interpreter that makes the environment, ``torch`` a release ('2.13.0'), ``build`` which build of
    it ('cpu', 'cuda', or 'auto' for what the machine can use), ``gpus`` and ``nvcc`` what the machine has, ``system``
    its ``sys.platform``.
    """

    root: Path
    stack: Stack
    venv: Path
    cache: Path
    python: str = sys.executable
    version: tuple[int, ...] = tuple(sys.version_info[:3])
    torch: str = stacks.TORCH
    build: str = 'auto'
    gpus: list[machine.Gpu] = field(default_factory=list)
    nvcc: str | None = None
    system: str = sys.platform
    environ: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def interpreter(self) -> Path:
        """The environment's Python."""
        return self.venv / ('Scripts/python.exe' if self.system == 'win32' else 'bin/python')

    @property
    def stamp(self) -> Path:
        """Says that this project made the environment, and what is in it once it is complete."""
        return self.venv / 'mmswin-setup.json'

    @property
    def constraints(self) -> Path:
        return self.root / 'constraints' / f'{self.stack.name}.txt'

    def fingerprint(self) -> str:
        """Equal when an environment need not be touched."""
        text = self.constraints.read_text(encoding='utf-8')
        capabilities = sorted({gpu.capability for gpu in self.gpus}) if self.build == 'cuda' else []
        facts = (self.torch, self.build, self.version, capabilities, str(self.root))
        return wheels.digest(REVISION, self.stack, text, *facts)

    def recorded(self) -> dict[str, Any]:
        """What the environment's stamp says; empty without a readable one."""
        try:
            return json.loads(self.stamp.read_text())
        except (OSError, ValueError):
            return {}

    def pip(self, *arguments: str) -> list[str]:
        # Python compiles modules when they are first imported; compiling all of torch here doubles an installation.
        lazily = ['--no-compile'] if arguments[0] == 'install' else []
        return [str(self.interpreter), '-m', 'pip', *arguments, *lazily, '--disable-pip-version-check']


def choose_build(plan: Plan) -> list[str]:
    """Settles ``plan.build`` where it is 'auto': the build that this machine can use.

    That is the CUDA build where there are an NVIDIA GPU and an nvcc of the same major version as torch's CUDA, without
    which mmcv's ops, and so every detector, run on the CPU only. An environment that is complete keeps its build: a GPU
    that is not seen today must not cost a user the CUDA build.

    Returns:
        What to tell the user.

    Raises:
        EnvironmentProblem: ``plan.build`` is none of 'auto', 'cpu', 'cuda', or 'cuda' for a GPU without nvcc.
    """
    if plan.build not in ('auto', 'cpu', 'cuda'):
        raise EnvironmentProblem(f'TORCH_BUILD={plan.build} is unknown; choose cpu or cuda, or leave it out.')
    recorded = plan.recorded()
    if plan.build in ('auto', 'cuda') and recorded.get('build') == 'cuda' and not plan.gpus:
        plan.gpus = [machine.Gpu(*gpu) for gpu in recorded.get('gpus', [])]
    if plan.build == 'cuda' and plan.gpus and plan.nvcc is None:
        raise EnvironmentProblem(
            "TORCH_BUILD=cuda needs nvcc to compile mmcv's ops for the GPU, and there is none. Install the CUDA "
            f'toolkit (torch {stacks.TORCH}: CUDA {stacks.TORCH_CUDA}) or name its folder in CUDA_HOME; without it, '
            'make setup TORCH_BUILD=cpu'
        )
    if plan.build != 'auto':
        return []
    if recorded.get('build') in ('cpu', 'cuda'):
        plan.build = recorded['build']
        return []
    plan.build = 'cpu'
    if not plan.gpus:
        return []
    wanted = stacks.TORCH_CUDA.split('.')[0]
    if plan.nvcc is not None and (plan.torch != stacks.TORCH or plan.nvcc.split('.')[0] == wanted):
        plan.build = 'cuda'
        return []
    found = f'nvcc is {plan.nvcc}' if plan.nvcc else 'there is no nvcc'
    return [
        f'{plan.gpus[0].name} found, but {found}: the ops of mmcv cannot be compiled for it, so all runs on the CPU',
        f'to use it: install the CUDA {wanted} toolkit, or name its folder in CUDA_HOME; make setup TORCH_BUILD=cuda',
    ]


def is_current(plan: Plan) -> bool:
    """Whether the environment is complete and all its pinned distributions are still there, found in a second."""
    if plan.recorded().get('fingerprint') != plan.fingerprint():
        return False
    wanted = {name: plan.stack.version(name) for name in plan.stack.distributions} | {'torch': None, 'mmswin': None}
    code = (
        'import json, sys\n'
        'from importlib.metadata import PackageNotFoundError, version\n'
        'def found(name):\n'
        '    try: return version(name)\n'
        '    except PackageNotFoundError: return None\n'
        'print(json.dumps({name: found(name) for name in json.loads(sys.argv[1])}))\n'
    )
    text = machine.ask([str(plan.interpreter), '-c', code, json.dumps(list(wanted))])
    if text is None:
        return False
    found = json.loads(text)
    return all(found[name] and (version is None or found[name] == version) for name, version in wanted.items())
