"""The doctor names the failing link and its remedy for each fault that users meet, and finds this environment well."""

import copy

import pytest

from mmswin.environment import doctor
from mmswin.environment.doctor import FAIL, judge, read_report, release, runs_on, table
from mmswin.environment.hardware import Gpu

WELL = {
    'python': dict(version=[3, 11, 7], executable='python', platform='linux'),
    'distributions': dict(mmengine='0.10.7', mmcv='2.1.0', mmdet='3.3.0', mmsegmentation='1.2.2', setuptools='80.0'),
    'numpy': dict(version='2.2.6'),
    'torch': dict(version='2.13.0+cpu', cuda=None, threads=2, available=False, gpus=[], architectures=[]),
    'pkg_resources': dict(version=''),
    'cv2': dict(version='4.12.0'),
    'mmengine': dict(version='0.10.7'),
    'mmcv': dict(version='2.1.0'),
    'ops': dict(cpu=[0]),
    'mmdet': dict(version='3.3.0'),
    'mmseg': dict(version='1.2.2'),
    'mmswin': dict(version='0.1.0'),
}
CUDA = dict(version='2.13.0', cuda='13.0', threads=2, available=True, gpus=[['H200', [9, 0]]], architectures=['sm_90'])


def _lines(gpus=(), nvcc=None, **changes):
    """Judgement of a healthy report with some facts (dicts) or errors (strings) in the place of its own."""
    report = {name: dict(name=name, facts=facts) for name, facts in copy.deepcopy(WELL).items()}
    for name, change in changes.items():
        report[name] = dict(name=name, error=change) if isinstance(change, str) else dict(name=name, facts=change)
    return judge(report, list(gpus), nvcc)


def test_a_healthy_environment():
    lines = _lines()
    assert not [line for line in lines if line.status == FAIL]
    assert table(lines).endswith('Everything fits together.')
    assert len(table(lines).splitlines()) < 25  # one screen


@pytest.mark.parametrize(
    ('changes', 'link', 'text', 'remedy'),
    [
        (dict(distributions={}), 'stack', 'neither', 'make setup'),
        (dict(distributions={'mmcv': '2.1.0', 'onedl-mmcv': '2.3.6'}), 'stack', 'parts of both', 'uninstall'),
        (dict(torch="ModuleNotFoundError: No module named 'torch'"), 'torch', 'No module', 'pip install torch=='),
        (dict(torch=dict(WELL['torch'], version='1.13.1')), 'torch', '1.13.1', 'needs torch 2.1'),
        (dict(pkg_resources='ModuleNotFoundError: no'), 'setuptools', 'no', "'setuptools<81'"),
        (dict(cv2='ImportError: libGL.so.1: cannot open shared object file'), 'cv2', 'libGL', 'opencv-python-headless'),
        (dict(mmdet='AssertionError: MMCV==2.2.0 is used but incompatible.'), 'mmdet', 'MMCV==2.2.0', 'mmcv=='),
        (dict(mmdet='RuntimeError: operator torchvision::nms does not exist'), 'mmdet', 'nms', 'make pretrain'),
        (dict(distributions={'mmcv-lite': '2.1.0', 'mmdet': '3.3.0'}), 'mmcv', 'mmcv-lite', 'no compiled ops'),
        (dict(ops="ModuleNotFoundError: No module named 'mmcv._ext'"), 'mmcv ops', '_ext', 'without its ops'),
        (dict(ops='ImportError: undefined symbol'), 'mmcv ops', 'undefined symbol', 'for another torch'),
        (dict(ops=dict(cpu=[0, 1])), 'mmcv ops', 'gave [0, 1]', 'Rebuild'),
        (dict(ops=dict(cpu=[0], cuda='not compiled with GPU support')), 'mmcv ops', 'not on the GPU', 'nvcc'),
        (dict(mmseg="ModuleNotFoundError: No module named 'ftfy'"), 'mmseg', 'ftfy', 'ftfy regex'),
        (dict(mmswin='ModuleNotFoundError: no mmswin'), 'mmswin', 'no mmswin', 'pip install -e .'),
    ],
)
def test_faults_and_remedies(changes, link, text, remedy):
    first = next(line for line in _lines(**changes) if line.status == FAIL)
    assert first.name == link
    assert text in first.text
    assert remedy in first.remedy
    assert f'The failing link is {link}' in table([first])


@pytest.mark.parametrize(
    ('torch', 'text'),
    [
        (dict(CUDA, available=False), 'torch cannot use it'),
        (dict(CUDA, gpus=[['RTX 5090', [12, 0]]]), 'RTX 5090 is sm_120, torch has sm_90'),
    ],
)
def test_gpus_that_cannot_be_used(torch, text):
    (line,) = [line for line in _lines([Gpu('a GPU', '9.0')], '13.0', torch=torch) if line.name == 'gpu']
    assert line.status == FAIL
    assert text in line.text


def test_a_gpu_that_a_cpu_build_leaves_idle_is_no_fault():
    (line,) = [line for line in _lines([Gpu('H200', '9.0')], '13.0') if line.name == 'gpu']
    assert line.status == doctor.NOTE
    assert 'torch is a CPU build' in line.text and 'TORCH_BUILD=cuda' in line.text


def test_a_usable_gpu():
    (line,) = [line for line in _lines([Gpu('H200', '9.0')], '13.0', torch=CUDA) if line.name == 'gpu']
    assert line.status == doctor.OK


@pytest.mark.parametrize(
    ('architectures', 'capability', 'expected'),
    [
        (['sm_80'], (8, 6), True),
        (['sm_86'], (8, 0), False),
        (['sm_90a'], (9, 0), True),
        (['sm_90'], (12, 0), False),
        (['compute_90'], (12, 0), True),
        (['compute_120'], (9, 0), False),
        (['sm_100', 'sm_120'], (12, 0), True),
        ([], (9, 0), False),
    ],
)
def test_architectures(architectures, capability, expected):
    assert runs_on(architectures, *capability) is expected


def test_a_crash_is_blamed_on_what_was_being_imported():
    report = read_report('{"name": "python", "facts": {}}\nsome noise\n[1]\n{"start": "mmcv._ext"}\n', -11)
    assert report['python']['facts'] == {}
    assert 'died (exit status -11)' in report['mmcv._ext']['error']
    assert 'ops' not in report


def test_release():
    assert release('2.1.0rc4') == (2, 1, 0)
    assert release('2.13.0+cpu') == (2, 13, 0)
    assert release('2.2') < release('2.10.1')


@pytest.mark.parametrize(
    ('changes', 'status', 'word'),
    [
        ({}, 'note', 'make pretrain'),
        (dict(mmpretrain=dict(folder='/env/pretrain', apart={'mmpretrain': '1.2.0'})), 'ok', '/env/pretrain'),
        (dict(distributions=dict(WELL['distributions'], mmpretrain='1.2.0')), 'note', 'torchvision'),
    ],
)
def test_where_mmpretrain_is(changes: dict, status: str, word: str) -> None:
    (line,) = [line for line in _lines(**changes) if line.name == 'mmpretrain']
    assert line.status == status and word in line.text
