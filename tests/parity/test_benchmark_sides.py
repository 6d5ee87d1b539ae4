"""The other libraries' networks as sides of a benchmark: with our weights they pass its gate."""

import subprocess
import sys

import pytest

from mmswin.benchmark import equality
from mmswin.benchmark.peers import Spec, source_model
from mmswin.benchmark.work import Work

SIDES = ['transformers-eager', 'transformers-sdpa', 'timm', 'timm-fused', 'torchvision']


@pytest.mark.slow
def test_other_libraries_pass_the_gate(peers):
    tensors = source_model(Spec('tiny', 7, 0.0)).state_dict()
    # Whole patches; maps that are padded, and larger than a window: on smaller ones some libraries do not shift.
    verdicts = equality.judge(SIDES, Work(mode='training', sizes=('1x252x332',)), tensors)
    assert {side: verdict.reason for side, verdict in verdicts.items()} == dict.fromkeys(SIDES)


@pytest.mark.slow
def test_a_process_of_its_own_builds_them(peers):
    """Also beside a torchvision whose compiled part is for another torch, and which could not be found at first."""
    code = """
import sys
from mmswin.benchmark.peers import Spec, build, source_model
from mmswin.conversion.torchvision_operators import make_importable
make_importable()
sys.path.append(sys.argv[1])
spec = Spec('tiny', 7, 0.0)
for side in ('transformers-sdpa', 'torchvision', 'timm-fused'):
    build(side, spec, source_model(spec).state_dict(), 'cpu')
    print(side)
"""
    done = subprocess.run([sys.executable, '-c', code, str(peers)], text=True, capture_output=True, timeout=300)
    assert done.stdout.split() == ['transformers-sdpa', 'torchvision', 'timm-fused'], done.stderr
