"""Which build of torch is chosen for which machine, what mmcv is compiled with, and when nothing is left to do."""

import json
from pathlib import Path

import pytest

from mmswin.environment import hardware
from mmswin.environment.hardware import Gpu
from mmswin.environment.plan import Plan, choose_build, effective_constraints, installer_settings, is_current
from mmswin.environment.stacks import STACKS, SetupError

ROOT = Path(__file__).resolve().parents[3]
H200 = Gpu('NVIDIA H200', '9.0')


@pytest.fixture
def make_plan(tmp_path):
    def make(stamp=None, **settings):
        common = dict(
            root=ROOT, stack=STACKS['openmmlab'], venv=tmp_path, system='linux', version=(3, 11, 7), environ={}
        )
        plan = Plan(**{**common, **settings})
        if stamp is not None:
            plan.stamp.write_text(json.dumps(stamp))
        return plan

    return make


@pytest.mark.parametrize(
    ('gpus', 'nvcc', 'build', 'note'),
    [
        ([], None, 'cpu', ''),
        ([], '13.0', 'cpu', ''),
        ([H200], '13.1', 'cuda', ''),
        ([H200], '12.8', 'cpu', 'nvcc is 12.8'),
        ([H200], None, 'cpu', 'there is no nvcc'),
    ],
)
def test_a_new_environment_gets_the_build_that_the_machine_can_use(make_plan, gpus, nvcc, build, note):
    plan = make_plan(gpus=gpus, nvcc=nvcc)
    said = choose_build(plan)
    assert plan.build == build
    assert note in said and ('TORCH_BUILD=cuda' in said) == bool(note)


def test_a_gpu_that_is_not_seen_today_does_not_cost_the_cuda_build(make_plan):
    plan = make_plan(dict(build='cuda', gpus=[['NVIDIA H200', '9.0']]))
    choose_build(plan)
    assert (plan.build, plan.gpus) == ('cuda', [H200])


def test_a_gpu_that_appears_changes_nothing_by_itself(make_plan):
    plan = make_plan(dict(build='cpu', gpus=[]), gpus=[H200], nvcc='13.0')
    assert choose_build(plan) == '' and plan.build == 'cpu'
    plan.build = 'cuda'
    choose_build(plan)
    assert plan.build == 'cuda'


@pytest.mark.parametrize(('nvcc', 'found'), [(None, 'no nvcc'), ('12.4', 'nvcc is 12.4')])
def test_the_cuda_build_without_its_nvcc_is_refused(make_plan, nvcc, found):
    with pytest.raises(SetupError, match=f'{found}.*CUDA_HOME.*TORCH_BUILD=cpu'):
        choose_build(make_plan(build='cuda', gpus=[H200], nvcc=nvcc))


def test_an_unknown_build_is_named(make_plan):
    with pytest.raises(SetupError, match='TORCH_BUILD=rocm'):
        choose_build(make_plan(build='rocm'))


def test_a_build_does_not_pass_for_the_other(make_plan):
    assert make_plan(build='cpu').torch_requirement() == 'torch==2.13.0+cpu'
    assert make_plan(build='cuda').torch_requirement() == 'torch==2.13.0,!=2.13.0+cpu'
    assert make_plan(build='cpu', system='darwin').torch_requirement() == 'torch==2.13.0'


def test_another_torch_takes_the_place_of_the_pin_and_brings_its_triton(make_plan):
    own = effective_constraints(make_plan())
    other = effective_constraints(make_plan(torch='2.9.1'))
    assert 'torch==2.13.0\n' in own and 'triton==' in own
    assert set(own.splitlines()) - set(other.splitlines()) == {'torch==2.13.0', 'triton==3.7.1'}


def test_mmcv_is_compiled_for_this_torch_and_device(make_plan):
    tomllib = pytest.importorskip('tomllib')
    plan = make_plan(build='cpu', environ={'CFLAGS': '-march=native'})
    settings = tomllib.loads(installer_settings(plan, 'https://mine/simple'))
    variables = settings['extra-build-variables']['mmcv']
    # CFLAGS takes the place of Python's own flags, optimisation included; the user's come last and win.
    assert variables['CFLAGS'] == '-O2 -DNDEBUG -g0 -march=native'
    assert (variables['MMCV_WITH_OPS'], variables['FORCE_CUDA'], variables['CUDA_VISIBLE_DEVICES']) == ('1', '0', '')
    assert {'torch==2.13.0+cpu', 'ninja'} <= set(settings['extra-build-dependencies']['mmcv'])
    assert settings['no-binary-package'] == ['mmcv']
    # A mirror without caching headers would have mmcv fetched and compiled for each environment.
    (index,) = settings['index']
    assert (index['url'], index['default']) == ('https://mine/simple', True)
    assert 'immutable' in index['cache-control']['files']
    plan = make_plan(build='cuda', gpus=[H200, Gpu('a', '8.0'), H200], nvcc='13.0', stack=STACKS['onedl'])
    variables = tomllib.loads(installer_settings(plan, 'https://mine/simple'))['extra-build-variables']['onedl-mmcv']
    assert (variables['FORCE_CUDA'], variables['TORCH_CUDA_ARCH_LIST']) == ('1', '8.0;9.0')
    assert '13.0' in variables['MMSWIN_BUILT_ON']


@pytest.mark.parametrize(
    ('change', 'expected'), [({}, True), ({'mmcv': '2.0.1'}, False), ({'mmdet': None}, False), ({'torch': None}, False)]
)
def test_a_complete_environment_is_recognised(make_plan, monkeypatch, change, expected):
    plan = make_plan()
    plan.stamp.write_text(json.dumps(dict(fingerprint=plan.fingerprint())))
    versions = {**plan.stack.versions, 'torch': '2.13.0+cpu', 'mmswin': '0.1.0', **change}
    pins = ' '.join(f'{name}=={version}' for name, version in versions.items() if version)
    monkeypatch.setattr(hardware, 'ask', lambda command: pins)
    assert is_current(plan) is expected
    plan.torch = '2.9.1'
    assert not is_current(plan)


def test_an_environment_that_cannot_run_or_was_left_half_made_is_not_complete(make_plan, monkeypatch):
    monkeypatch.setattr(hardware, 'ask', lambda command: None)
    plan = make_plan()
    assert not is_current(plan)
    plan.stamp.write_text(json.dumps(dict(python=[3, 11])))
    assert not is_current(plan)
    plan.stamp.write_text(json.dumps(dict(fingerprint=plan.fingerprint())))
    assert not is_current(plan)
