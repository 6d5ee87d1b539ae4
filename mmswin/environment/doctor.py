"""Judges what is installed: one line a link of the chain, and what to do about those that fail."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmswin.environment import hardware, stacks
from mmswin.environment.hardware import Gpu

OK, NOTE, FAIL = 'ok', 'note', 'FAIL'
TORCH_MIN = (2, 1)
_INSTALL = 'make setup in a checkout of mmswin sets up everything that fits together'

Facts = dict[str, Any]
Report = dict[str, Facts]
Result = tuple[str, ...]  # status, text and, where it fails, remedy


@dataclass(frozen=True)
class Line:
    """One link: what it is, how it stands, and the remedy where it fails."""

    name: str
    status: str
    text: str
    remedy: str = ''


def diagnose() -> tuple[str, bool]:
    """The table for this interpreter, and whether all is well."""
    root = Path(__file__).resolve().parents[2]
    env = dict(os.environ, PYTHONPATH=os.pathsep.join([str(root), os.environ.get('PYTHONPATH', '')]).strip(os.pathsep))
    command = [sys.executable, '-m', 'mmswin.environment.probe']
    done = subprocess.run(command, capture_output=True, text=True, env=env, stdin=subprocess.DEVNULL, cwd=root)
    lines = judge(read_report(done.stdout, done.returncode), hardware.find_gpus(), hardware.find_nvcc())
    return table(lines), all(line.status != FAIL for line in lines)


def read_report(output: str, status: int) -> Report:
    """The probe's lines by name, each with ``facts`` or ``error``; one during which the interpreter died says so."""
    report: Report = {}
    for text in output.splitlines():
        try:
            line = json.loads(text)
        except ValueError:  # a library that prints while it is imported
            continue
        if isinstance(line, dict) and 'start' in line:
            report[line['start']] = {'error': f'the interpreter died (exit status {status})'}
        elif isinstance(line, dict) and 'name' in line:
            report[line['name']] = line
    return report


def judge(report: Report, gpus: list[Gpu], nvcc: str | None) -> list[Line]:
    """All lines, in the order in which one link hangs on another."""

    def facts(name: str) -> Facts:
        return report.get(name, {}).get('facts') or {}

    def link(name: str, remedy: str, describe: Callable[[Facts], Result] = _version, label: str = '') -> Line:
        error = report.get(name, {'error': 'not reached'}).get('error')
        return Line(label or name, FAIL, error, remedy) if error else Line(label or name, *describe(facts(name)))

    installed = facts('distributions')
    names = [name for name, stack in stacks.STACKS.items() if any(d in installed for d in stack.distributions)]
    stack = stacks.STACKS[names[0] if names else 'openmmlab']
    mmengine, mmcv_pin, mmdet, mmseg = map(stack.pin, stack.distributions)
    setuptools = installed.get('setuptools', 'missing')
    old_setuptools = f"pip install '{stacks.SETUPTOOLS}': later releases have no pkg_resources"
    build = f'{_INSTALL}, or build it: pip install --no-build-isolation {mmcv_pin}'
    rebuild = (
        f'mmcv was built without its ops, or for another torch. Rebuild it for this one: pip uninstall {stack.mmcv}; '
        f'MMCV_WITH_OPS=1 pip install --no-build-isolation --no-cache-dir {mmcv_pin}; or {_INSTALL}'
    )
    torchvision = (
        "torchvision is for another torch. mmdet and mmseg import it because it, or mmpretrain, is among the environment's "
        'own packages: pip uninstall torchvision mmpretrain, then make pretrain, which puts both into a folder apart; or '
        'install the torchvision that belongs to this torch'
    )

    def cure(name: str, usual: str) -> str:
        error = report.get(name, {}).get('error', '')
        return torchvision if 'torchvision' in error else build if 'MMCV' in error else usual

    mmcv = link('mmcv', build)
    if 'mmcv-lite' in installed:
        remedy = f'pip uninstall mmcv-lite, then install {mmcv_pin}: mmcv-lite has no compiled ops'
        mmcv = Line('mmcv', FAIL, f'mmcv-lite {installed["mmcv-lite"]} is installed', remedy)
    return [
        link('python', 'the interpreter cannot run the probe at all; reinstall it', _python),
        Line('stack', *_stack(installed, names)),
        link('torch', f'pip install torch=={stacks.TORCH}; {_INSTALL}', _torch),
        Line('gpu', *_gpu(facts('torch'), gpus, nvcc)),
        link('numpy', f"pip install 'numpy<2.3'; {_INSTALL}"),
        link('pkg_resources', old_setuptools, lambda _: (OK, f'{setuptools}, with pkg_resources'), 'setuptools'),
        link('cv2', 'pip install --force-reinstall opencv-python-headless (of the same version), which needs no libGL'),
        link('mmengine', f'pip install {mmengine}'),
        mmcv,
        link('ops', rebuild, lambda found: _ops(found, rebuild), 'mmcv ops'),
        # They name the mmcv that they want where they find another.
        link('mmdet', cure('mmdet', f'pip install {mmdet}')),
        link('mmseg', cure('mmseg', f'pip install {mmseg} ftfy regex')),
        Line('mmpretrain', *_mmpretrain(installed, facts('mmpretrain'))),
        link('mmswin', 'pip install -e . in a checkout of mmswin, and fix what fails above first'),
    ]


def table(lines: list[Line]) -> str:
    """One screen of text: all lines, then the first failing link with its remedy."""
    text = [f'{line.status:<5}{line.name:<12}{line.text}' for line in lines]
    failing = [line for line in lines if line.status == FAIL]
    if not failing:
        return '\n'.join([*text, '', 'Everything fits together.'])
    more = f' ({len(failing) - 1} more, perhaps because of it)' if len(failing) > 1 else ''
    first = failing[0]
    return '\n'.join([*text, '', f'The failing link is {first.name}{more}.', f'To fix it: {first.remedy}.'])


def release(version: str) -> tuple[int, ...]:
    """Leading numbers of a version: (2, 1, 0) from '2.1.0rc4+cpu'."""
    return tuple(int(part) for part in re.findall(r'\d+', re.split(r'[^\d.]', version)[0]))


def runs_on(architectures: list[str], major: int, minor: int) -> bool:
    """Whether code for these architectures runs on a GPU: machine code of its generation, or PTX not newer than it."""
    built = re.findall(r'\b(sm|compute)_(\d+)(\d)', ' '.join(architectures))
    older = ((kind, int(first)) for kind, first, second in built if (int(first), int(second)) <= (major, minor))
    return any(kind == 'compute' or generation == major for kind, generation in older)


def _version(facts: Facts) -> Result:
    return OK, facts.get('version', '')


def _python(facts: Facts) -> Result:
    text = f'{stacks.dotted(facts["version"])} on {facts["platform"]}, {facts["executable"]}'
    try:
        stacks.check_python(tuple(facts['version']))
    except stacks.SetupError as error:
        return NOTE, f'{text}. {error}'
    return OK, text


def _stack(installed: dict[str, str], names: list[str]) -> Result:
    if not names:
        return FAIL, "neither OpenMMLab's packages nor the onedl forks are installed", _INSTALL
    if len(names) > 1:
        both = ', '.join(d for name in names for d in stacks.STACKS[name].distributions if d in installed)
        remedy = "uninstall all of them, then install one stack: they overwrite each other's files"
        return FAIL, f'parts of both stacks are installed: {both}', remedy
    stack = stacks.STACKS[names[0]]
    return OK, ', '.join(f'{d} {installed.get(d, "missing")}' for d in stack.distributions)


def _torch(facts: Facts) -> Result:
    build = f'CUDA {facts["cuda"]} build' if facts['cuda'] else 'CPU build'
    text = f'{facts["version"]}, {build}, {facts["threads"]} threads'
    if release(facts['version']) < TORCH_MIN:
        return FAIL, text, f'mmswin needs torch {stacks.dotted(TORCH_MIN)} or later'
    return OK, text


def _gpu(facts: Facts, gpus: list[Gpu], nvcc: str | None) -> Result:
    compiler = f'nvcc {nvcc}' if nvcc else 'no nvcc'
    if not gpus:
        return NOTE, f'none that nvidia-smi reports; runs go on the CPU ({compiler})'
    text = ', '.join(f'{gpu.name} (capability {gpu.capability})' for gpu in gpus) + f'; {compiler}'
    if not facts:
        return NOTE, text
    if not facts['cuda']:
        change = 'make setup TORCH_BUILD=cuda, or install the CUDA build into a stack of your own'
        return NOTE, f'{text}; torch is a CPU build and does not use it. To change that: {change}'
    if not facts['available']:
        remedy = f'the driver may be too old for CUDA {facts["cuda"]}: update it, or install a torch for an older CUDA'
        return FAIL, f'{text}; torch cannot use it', remedy
    for name, (major, minor) in facts['gpus']:
        if not runs_on(facts['architectures'], major, minor):
            remedy = 'install a torch release whose build names this architecture (newer for new GPUs, older for old)'
            return FAIL, f'{name} is sm_{major}{minor}, torch has {" ".join(facts["architectures"])}', remedy
    return OK, text


def _mmpretrain(installed: dict[str, str], facts: Facts) -> Result:
    names = [pin.split('==')[0] for pin in stacks.MMPRETRAIN.values()]
    for name in names:
        if name in installed:
            return NOTE, (
                f"{name} {installed[name]} among the environment's own packages: mmdet and mmseg import it and its "
                'torchvision with every start, and fail where torchvision is not for this torch (make pretrain puts it apart)'
            )
        if name in facts.get('apart', {}):
            return OK, f'{name} {facts["apart"][name]} in {facts["folder"]}, for classification'
    return NOTE, 'not installed; classification and pretraining need it: make pretrain'


def _ops(facts: Facts, rebuild: str) -> Result:
    if facts['cpu'] != [0]:
        return FAIL, f'nms on the CPU gave {facts["cpu"]} instead of [0]', rebuild
    if facts.get('cuda', [0]) != [0]:
        remedy = f"install the CUDA toolkit of torch's CUDA (nvcc) and {_INSTALL}"
        return FAIL, f'they run on the CPU but not on the GPU: {facts["cuda"]}', remedy
    return OK, 'run on ' + ' and '.join(facts)
