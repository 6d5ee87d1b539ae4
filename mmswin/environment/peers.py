"""The libraries that the tests compare checkpoints with, kept beside an environment's packages and not among them.

mmdet imports transformers wherever it is installed, and the index's torchvision is a CUDA build: in the environment
itself they would slow every start and change what OpenMMLab's packages find.
"""

from __future__ import annotations

import shutil

from mmswin.environment import wheels
from mmswin.environment.plan import Plan
from mmswin.environment.shell import CommandFailed, Shell

FOLDER = 'peers'
_STAMP = 'mmswin-peers.txt'


def install(plan: Plan, shell: Shell) -> bool:
    """Install what constraints/peers.txt pins, without dependencies, unless it is there.

    A failure is said and no error: the tests in question say then that they checked nothing.

    Returns:
        Whether the libraries are there.
    """
    pins = plan.root / 'constraints' / 'peers.txt'
    folder = plan.venv / FOLDER
    wanted = wheels.digest(pins.read_text(encoding='utf-8'))
    stamp = folder / _STAMP
    if stamp.is_file() and stamp.read_text() == wanted:
        return True
    shutil.rmtree(folder, ignore_errors=True)
    shell.note('timm, torchvision and transformers, for the tests that compare with them')
    command = plan.pip('install', '--no-deps', '--target', str(folder), '-r', str(pins))
    try:
        shell.run(command, what='installing the libraries to compare with')
    except CommandFailed as error:
        shutil.rmtree(folder, ignore_errors=True)
        shell.note(f'not installed, so what needs them is not checked: {str(error).splitlines()[0]}')
        return False
    stamp.write_text(wanted)
    return True
