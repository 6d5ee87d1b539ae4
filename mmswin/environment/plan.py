"""What ``make setup`` is to set up: the choices, the places, and how to tell that nothing is left to do."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmswin.environment import hardware, stacks
from mmswin.environment.stacks import SetupError, Stack

# Changes when the steps of the set-up change, so that environments of earlier versions are brought up to date.
REVISION = 1


@dataclass
class Plan:
    """What to set up, and where; ``build`` is 'cpu', 'cuda', or 'auto' for what the machine can use."""

    root: Path
    stack: Stack
    venv: Path
    python: str = sys.executable
    version: tuple[int, ...] = tuple(sys.version_info[:3])
    torch: str = stacks.TORCH
    build: str = 'auto'
    gpus: list[hardware.Gpu] = field(default_factory=list)
    nvcc: str | None = None
    system: str = sys.platform
    environ: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def program(self, name: str) -> Path:
        """A program of the environment: 'python', 'uv'."""
        return self.venv / (f'Scripts/{name}.exe' if self.system == 'win32' else f'bin/{name}')

    @property
    def stamp(self) -> Path:
        """Says that this project made the environment, and what is in it once it is complete."""
        return self.venv / 'mmswin-setup.json'

    def torch_requirement(self) -> str:
        """The release and build of torch that is asked for, and no other build of the same release."""
        if self.system == 'darwin':  # one build for all
            return f'torch=={self.torch}'
        return f'torch=={self.torch}+cpu' if self.build == 'cpu' else f'torch=={self.torch},!={self.torch}+cpu'

    def fingerprint(self) -> str:
        """Equal when an environment need not be touched."""
        text = (self.root / 'constraints' / f'{self.stack.name}.txt').read_text(encoding='utf-8')
        capabilities = sorted({gpu.capability for gpu in self.gpus}) if self.build == 'cuda' else []
        return digest(REVISION, self.stack, text, self.torch, self.build, self.version, capabilities, str(self.root))

    def recorded(self) -> dict[str, Any]:
        """What the environment's stamp says; empty without a readable one."""
        try:
            return json.loads(self.stamp.read_text())
        except (OSError, ValueError):
            return {}


def digest(*parts: object) -> str:
    """A short fingerprint of some facts."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def choose_build(plan: Plan) -> str:
    """Settles ``plan.build`` where it is 'auto': the build that this machine can use.

    That is the CUDA build where there are an NVIDIA GPU and an nvcc of the same major version as torch's CUDA, without
    which mmcv's ops, and so every detector, run on the CPU only. An environment that is complete keeps its build: a GPU
    that is not seen today must not cost a user the CUDA build.

    Returns what to tell the user, if anything. A SetupError is raised for another word, or a GPU without its nvcc.
    """
    if plan.build not in ('auto', 'cpu', 'cuda'):
        raise SetupError(f'TORCH_BUILD={plan.build} is unknown; choose cpu or cuda, or leave it out.')
    recorded = plan.recorded()
    if plan.build != 'cpu' and recorded.get('build') == 'cuda' and not plan.gpus:
        plan.gpus = [hardware.Gpu(*gpu) for gpu in recorded.get('gpus', [])]
    toolkit = stacks.TORCH_CUDA.split('.')[0]
    # Which CUDA another release of torch is made for is not known here.
    fits = plan.nvcc is not None and (plan.torch != stacks.TORCH or plan.nvcc.split('.')[0] == toolkit)
    reason = (
        f"{f'nvcc is {plan.nvcc}' if plan.nvcc else 'there is no nvcc'}: mmcv's ops cannot be compiled for the GPU. To use "
        f'it, install the toolkit of CUDA {toolkit}, or name its folder in CUDA_HOME; make setup TORCH_BUILD=cuda'
    )
    if plan.build == 'cuda' and plan.gpus and not fits:
        raise SetupError(f'{reason}. To use the CPU: make setup TORCH_BUILD=cpu')
    if plan.build != 'auto':
        return ''
    plan.build = recorded.get('build') or ('cuda' if plan.gpus and fits else 'cpu')
    if not plan.gpus or fits or 'build' in recorded:
        return ''
    return f'{plan.gpus[0].name} found, but all runs on the CPU: {reason}'


def is_current(plan: Plan) -> bool:
    """Whether the environment is complete and all its pinned distributions are still there, found in a second."""
    if plan.recorded().get('fingerprint') != plan.fingerprint():
        return False
    code = 'from importlib.metadata import distributions as all; print(*(f"{d.name}=={d.version}" for d in all()))'
    installed = (hardware.ask([str(plan.program('python')), '-I', '-c', code]) or '').split()
    names = {pin.split('==')[0] for pin in installed}
    return {'torch', 'mmswin'} <= names and all(plan.stack.pin(name) in installed for name in plan.stack.distributions)


def effective_constraints(plan: Plan) -> str:
    """The pins with the torch that was asked for in the place of their own."""
    text = (plan.root / 'constraints' / f'{plan.stack.name}.txt').read_text(encoding='utf-8')
    if plan.torch != stacks.TORCH:  # each release has its own triton
        text = re.sub(rf'^(torch|{stacks.TRITON})==.*\n', '', text, flags=re.MULTILINE)
    return text


def installer_settings(plan: Plan, index: str) -> str:
    """uv.toml: what mmcv is compiled with. All of it is part of the key that uv keeps the compiled wheel under.

    So is when its source was fetched. Mirrors that do not say for how long a file is good would have it fetched, and so
    compiled, for each environment again: files of an index are taken to stay as they are.

    CFLAGS takes the place of Python's own flags: without -O2 the ops would not be optimized. Debug information would
    double the time to compile, and nobody steps through these ops.
    """
    mmcv, architectures = plan.stack.mmcv, sorted({gpu.capability for gpu in plan.gpus}) if plan.build == 'cuda' else []
    variables = {
        'CFLAGS': f'-O2 -DNDEBUG -g0 {plan.environ.get("CFLAGS", "")}'.strip(),
        'MMCV_WITH_OPS': '1',
        # mmcv's setup.py compiles for CUDA wherever torch sees a GPU.
        'FORCE_CUDA': '1' if architectures else '0',
        # Read by nobody: a cache that several machines share must not mix up their wheels.
        'MMSWIN_BUILT_ON': f'{platform.machine()} {platform.libc_ver()} {plan.nvcc if architectures else ""}',
    }
    if architectures:
        variables['TORCH_CUDA_ARCH_LIST'] = plan.environ.get('TORCH_CUDA_ARCH_LIST') or ';'.join(architectures)
    else:
        variables['CUDA_VISIBLE_DEVICES'] = ''
    needs = [plan.torch_requirement(), stacks.SETUPTOOLS, 'wheel', 'ninja', 'numpy']
    table = ', '.join(f'{name} = {json.dumps(value)}' for name, value in variables.items())
    return (
        f'no-binary-package = ["{mmcv}"]\n'
        f'build-constraint-dependencies = ["{stacks.SETUPTOOLS}"]\n'
        # Both builds of OpenCV hold the same package; the headless one needs no libGL.
        'override-dependencies = ["opencv-python; sys_platform == \'never\'"]\n'
        f'extra-build-dependencies = {{ {mmcv} = {json.dumps(needs)} }}\n'
        f'extra-build-variables = {{ {mmcv} = {{ {table} }} }}\n'
        f'[[index]]\nurl = {json.dumps(index)}\ndefault = true\n'
        'cache-control = { files = "max-age=31536000, immutable" }\n'
    )
