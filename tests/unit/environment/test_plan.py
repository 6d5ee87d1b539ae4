"""Which build of torch is chosen for which machine, and that a machine that changes does not undo a choice."""

import json
from pathlib import Path

import pytest

from mmswin.environment import machine, provision, stacks
from mmswin.environment.machine import Gpu
from mmswin.environment.plan import Plan, choose_build
from mmswin.environment.stacks import EnvironmentProblem

ROOT = Path(__file__).resolve().parents[3]
H200 = Gpu('NVIDIA H200', '9.0')


def _plan(tmp_path, **changes):
    settings = dict(root=ROOT, stack=stacks.STACKS['openmmlab'], venv=tmp_path / 'venv', cache=tmp_path / 'cache')
    return Plan(**{**settings, 'system': 'linux', 'version': (3, 11, 7), **changes})


def _stamped(plan, **entries):
    plan.venv.mkdir(exist_ok=True)
    plan.stamp.write_text(json.dumps(dict(python=[3, 11], fingerprint='of before', **entries)))
    return plan


@pytest.mark.parametrize(
    ('gpus', 'nvcc', 'build', 'note'),
    [
        ([], None, 'cpu', None),
        ([], '13.0', 'cpu', None),
        ([H200], '13.1', 'cuda', None),
        ([H200], '12.8', 'cpu', 'NVIDIA H200 found, but nvcc is 12.8'),
        ([H200], None, 'cpu', 'NVIDIA H200 found, but there is no nvcc'),
    ],
)
def test_a_new_environment_gets_the_build_that_the_machine_can_use(tmp_path, gpus, nvcc, build, note):
    plan = _plan(tmp_path, gpus=gpus, nvcc=nvcc)
    notes = choose_build(plan)
    assert plan.build == build
    if note is None:
        assert notes == []
    else:
        assert note in notes[0]
        assert 'CUDA 13 toolkit' in notes[1] and 'TORCH_BUILD=cuda' in notes[1]


def test_a_gpu_that_is_not_seen_today_does_not_cost_the_cuda_build(tmp_path):
    before = _plan(tmp_path, gpus=[H200], nvcc='13.0')
    choose_build(before)
    plan = _stamped(_plan(tmp_path), build='cuda', gpus=[['NVIDIA H200', '9.0']])
    choose_build(plan)
    assert plan.build == 'cuda'
    assert plan.fingerprint() == before.fingerprint()


def test_a_gpu_that_appears_does_not_replace_a_cpu_environment_unasked(tmp_path):
    before = _plan(tmp_path)
    choose_build(before)
    plan = _stamped(_plan(tmp_path, gpus=[H200], nvcc='13.0'), build='cpu', gpus=[])
    choose_build(plan)
    assert plan.build == 'cpu'
    assert plan.fingerprint() == before.fingerprint()
    asked = _stamped(_plan(tmp_path, gpus=[H200], nvcc='13.0', build='cuda'), build='cpu', gpus=[])
    choose_build(asked)
    assert asked.build == 'cuda'
    assert asked.fingerprint() != before.fingerprint()


def test_a_cuda_build_for_a_gpu_without_nvcc_is_refused_at_once(tmp_path):
    with pytest.raises(EnvironmentProblem, match='needs nvcc.*CUDA 13.0.*CUDA_HOME.*TORCH_BUILD=cpu'):
        choose_build(_plan(tmp_path, gpus=[H200], build='cuda'))


def test_an_unknown_build_is_refused(tmp_path):
    with pytest.raises(EnvironmentProblem, match='TORCH_BUILD=gpu is unknown; choose cpu or cuda'):
        choose_build(_plan(tmp_path, build='gpu'))


@pytest.mark.parametrize(
    ('installed', 'build', 'removed'),
    [('2.13.0+cpu', 'cuda', True), ('2.13.0', 'cpu', True), ('2.13.0+cpu', 'cpu', False), ('', 'cuda', False)],
)
def test_a_torch_of_the_other_build_is_removed_first(tmp_path, monkeypatch, installed, build, removed):
    monkeypatch.setattr(machine, 'ask', lambda command: installed or None)
    commands = []

    class Shell:
        note = staticmethod(lambda text: None)

        @staticmethod
        def run(command, what):
            commands.append(command)

    provision.remove_other_build(_plan(tmp_path, build=build), Shell)
    assert [command[3:6] for command in commands] == ([['uninstall', '--yes', 'torch']] if removed else [])
