"""Judges what is installed: one line a link of the chain, and what to do about those that fail."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmswin.environment import machine, stacks

OK, NOTE, FAIL = 'ok', 'note', 'FAIL'
_INSTALL = 'make setup in a checkout of mmswin sets up everything that fits together'


@dataclass(frozen=True)
class Line:
    """One link: what it is, how it stands, and the remedy where it fails."""

    name: str
    status: str
    text: str
    remedy: str = ''


def examine(root: Path, python: str = sys.executable) -> dict[str, dict[str, Any]]:
    """Run the probe in an interpreter; for each fact either ``facts`` or ``error``."""
    env = dict(os.environ, PYTHONPATH=os.pathsep.join([str(root), os.environ.get('PYTHONPATH', '')]).strip(os.pathsep))
    command = [python, '-m', 'mmswin.environment.probe']
    done = subprocess.run(command, capture_output=True, text=True, env=env, stdin=subprocess.DEVNULL, cwd=root)
    return read_report(done.stdout, done.returncode)


def read_report(output: str, status: int) -> dict[str, dict[str, Any]]:
    """The probe's lines by name; a fact during which the interpreter died is an error that says so."""
    report: dict[str, dict[str, Any]] = {}
    for text in output.splitlines():
        try:
            line = json.loads(text)
        except ValueError:  # a library that prints while it is imported
            continue
        if not isinstance(line, dict):
            continue
        if 'start' in line:
            report[line['start']] = {'error': f'the interpreter died (exit status {status})', 'missing': None}
        elif 'name' in line:
            report[line['name']] = line
    return report


def release(version: str) -> tuple[int, ...]:
    """Leading numbers of a version: (2, 1, 0) from '2.1.0rc4+cpu'."""
    return tuple(int(part) for part in re.findall(r'\d+', re.split(r'[^\d.]', version)[0]))


def find_stack(installed: dict[str, str]) -> list[str]:
    """Names of the stacks of which a distribution is installed."""
    return [name for name, stack in stacks.STACKS.items() if any(d in installed for d in stack.distributions)]


def judge(report: dict[str, dict[str, Any]], gpus: list[machine.Gpu], nvcc: str | None) -> list[Line]:
    """All lines, in the order in which one link hangs on another."""
    installed = report.get('distributions', {}).get('facts') or {}
    names = find_stack(installed)
    lines = [_python(report), _stack(installed, names), _torch(report), _gpu(report, gpus, nvcc)]
    lines += [_plain(report, 'numpy', f"pip install 'numpy<2.3'; {_INSTALL}"), _pkg_resources(report), _cv2(report)]
    pin = stacks.STACKS[names[0] if names else 'openmmlab']
    lines.append(_plain(report, 'mmengine', f'pip install {pin.pin(pin.mmengine)}'))
    lines += [_mmcv(report, pin), _ops(report, gpus, pin)]
    lines += [_plain(report, 'mmdet', f'pip install {pin.pin(pin.mmdet)}')]
    lines += [_plain(report, 'mmseg', f'pip install {pin.pin(pin.mmseg)} ftfy regex')]
    lines += [_plain(report, name, f'pip install {name}: mmseg imports it without asking for it')
              for name in ('ftfy', 'regex')]  # fmt: skip
    lines.append(_plain(report, 'mmswin', 'pip install -e . in a checkout of mmswin, and mend what fails above first'))
    return lines


def _error(report: dict[str, dict[str, Any]], name: str) -> str | None:
    entry = report.get(name, {'error': 'not reached'})
    return entry.get('error')


def _plain(report: dict[str, dict[str, Any]], name: str, remedy: str) -> Line:
    error = _error(report, name)
    if error:
        return Line(name, FAIL, error, remedy)
    return Line(name, OK, str(report[name]['facts'].get('version', '')))


def _python(report: dict[str, dict[str, Any]]) -> Line:
    error = _error(report, 'python')
    if error:
        return Line('python', FAIL, error, 'the interpreter cannot run the probe at all; reinstall it')
    facts = report['python']['facts']
    text = f'{stacks.dotted(tuple(facts["version"]))} on {facts["platform"]}, {facts["executable"]}'
    try:
        stacks.check_python(tuple(facts['version']))
    except stacks.EnvironmentProblem as problem:
        return Line('python', NOTE, f'{text}. {problem}')
    return Line('python', OK, text)


def _stack(installed: dict[str, str], names: list[str]) -> Line:
    if not names:
        return Line('stack', FAIL, "neither OpenMMLab's packages nor the onedl forks are installed", _INSTALL)
    if len(names) > 1:
        both = ', '.join(d for name in names for d in stacks.STACKS[name].distributions if d in installed)
        remedy = "uninstall all of them, then install one stack: they overwrite each other's files"
        return Line('stack', FAIL, f'parts of both stacks are installed: {both}', remedy)
    stack = stacks.STACKS[names[0]]
    return Line('stack', OK, ', '.join(f'{d} {installed.get(d, "missing")}' for d in stack.distributions))


def _torch(report: dict[str, dict[str, Any]]) -> Line:
    error = _error(report, 'torch')
    if error:
        return Line('torch', FAIL, error, f'pip install torch=={stacks.TORCH}; {_INSTALL}')
    facts = report['torch']['facts']
    build = f'CUDA {facts["cuda"]} build' if facts['cuda'] else 'CPU build'
    text = f'{facts["version"]}, {build}, {facts["threads"]} threads'
    if release(facts['version']) < (2, 1):
        return Line('torch', FAIL, text, 'mmswin needs torch 2.1 or later')
    return Line('torch', OK, text)


def _gpu(report: dict[str, dict[str, Any]], gpus: list[machine.Gpu], nvcc: str | None) -> Line:
    compiler = f'nvcc {nvcc}' if nvcc else 'no nvcc'
    if not gpus:
        return Line('gpu', NOTE, f'none that nvidia-smi reports; runs go on the CPU ({compiler})')
    text = ', '.join(f'{gpu.name} (capability {gpu.capability})' for gpu in gpus) + f'; {compiler}'
    facts = report.get('torch', {}).get('facts')
    if not facts:
        return Line('gpu', NOTE, text)
    if not facts['cuda']:
        change = 'make setup TORCH_BUILD=cuda, or install the CUDA build into a stack of your own'
        return Line('gpu', NOTE, f'{text}; torch is a CPU build and does not use it. To change that: {change}')
    if not facts['available']:
        return Line('gpu', FAIL, f'{text}; torch cannot use it', 'the driver may be too old for CUDA '
                    f'{facts["cuda"]}: update it, or install a torch built for an older CUDA')  # fmt: skip
    for name, (major, minor) in facts['gpus']:
        if not runs_on(facts['architectures'], major, minor):
            remedy = 'install a torch release whose build names this architecture (newer for new GPUs, older for old)'
            text = f'{name} is sm_{major}{minor}, torch has {" ".join(facts["architectures"])}'
            return Line('gpu', FAIL, text, remedy)
    return Line('gpu', OK, text)


def runs_on(architectures: list[str], major: int, minor: int) -> bool:
    """Whether code for these architectures runs on a GPU: machine code of its generation, or PTX not newer than it."""
    for name in architectures:
        found = re.fullmatch(r'(sm|compute)_(\d+)(\d)[a-z]?', name)
        if not found:
            continue
        built = int(found.group(2)), int(found.group(3))
        if found.group(1) == 'sm' and built[0] == major and built[1] <= minor:
            return True
        if found.group(1) == 'compute' and built <= (major, minor):
            return True
    return False


def _pkg_resources(report: dict[str, dict[str, Any]]) -> Line:
    version = (report.get('distributions', {}).get('facts') or {}).get('setuptools', 'missing')
    error = _error(report, 'pkg_resources')
    if error:
        remedy = f"pip install 'setuptools<{stacks.SETUPTOOLS_BELOW}': later releases have no pkg_resources"
        return Line('setuptools', FAIL, f'{version}; {error}', remedy)
    return Line('setuptools', OK, f'{version}, with pkg_resources')


def _cv2(report: dict[str, dict[str, Any]]) -> Line:
    error = _error(report, 'cv2')
    if error and 'libGL' in error:
        remedy = 'pip install --force-reinstall opencv-python-headless (of the same version), or install libgl1'
        return Line('cv2', FAIL, error, remedy)
    return _plain(report, 'cv2', 'pip install opencv-python-headless')


def _mmcv(report: dict[str, dict[str, Any]], stack: stacks.Stack) -> Line:
    installed = report.get('distributions', {}).get('facts') or {}
    if 'mmcv-lite' in installed:
        remedy = f'pip uninstall mmcv-lite, then install {stack.pin(stack.mmcv)}: mmcv-lite has no compiled ops'
        return Line('mmcv', FAIL, f'mmcv-lite {installed["mmcv-lite"]} is installed', remedy)
    error = _error(report, 'mmcv')
    build = f'{_INSTALL}, or build it: pip install --no-build-isolation {stack.pin(stack.mmcv)}'
    if error:
        return Line('mmcv', FAIL, error, build)
    version = report['mmcv']['facts']['version']
    for package, bounds in (report.get('ranges', {}).get('facts') or {}).items():
        if bounds and not release(bounds[0]) <= release(version) < release(bounds[1]):
            text = f'{version} is outside the range of {package}, >={bounds[0]} and <{bounds[1]}'
            return Line('mmcv', FAIL, text, build)
    return Line('mmcv', OK, version)


def _ops(report: dict[str, dict[str, Any]], gpus: list[machine.Gpu], stack: stacks.Stack) -> Line:
    remedy = (
        f'mmcv was built without its ops, or for another torch. Rebuild it for this one: pip uninstall {stack.mmcv}; '
        f'MMCV_WITH_OPS=1 pip install --no-build-isolation --no-cache-dir {stack.pin(stack.mmcv)}; or {_INSTALL}'
    )
    for name in ('mmcv._ext', 'ops'):
        error = _error(report, name)
        if error:
            return Line('mmcv ops', FAIL, error, remedy)
    results = report['ops']['facts']
    if results['cpu'] != [0]:
        return Line('mmcv ops', FAIL, f'nms on the CPU gave {results["cpu"]} instead of [0]', remedy)
    if results.get('cuda', [0]) != [0]:
        text = f'they run on the CPU but not on the GPU: {results["cuda"]}'
        return Line('mmcv ops', FAIL, text, "install the CUDA toolkit of torch's CUDA (nvcc) and " + _INSTALL)
    return Line('mmcv ops', OK, 'run on ' + ' and '.join(results))


def table(lines: list[Line]) -> str:
    """One screen of text: all lines, then the first failing link with its remedy."""
    text = [f'{line.status:<5}{line.name:<12}{line.text}' for line in lines]
    failing = [line for line in lines if line.status == FAIL]
    if not failing:
        return '\n'.join([*text, '', 'Everything fits together.'])
    first = failing[0]
    more = f' ({len(failing) - 1} more fail, perhaps because of it)' if len(failing) > 1 else ''
    return '\n'.join([*text, '', f'The failing link is {first.name}{more}.', f'To mend it: {first.remedy}.'])


def diagnose(root: Path) -> tuple[str, bool]:
    """The table for this interpreter, and whether all is well."""
    lines = judge(examine(root), machine.find_gpus(), machine.find_nvcc())
    return table(lines), all(line.status != FAIL for line in lines)
