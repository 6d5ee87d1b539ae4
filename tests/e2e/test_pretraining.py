"""SimMIM through mmpretrain: trained, resumed, drawn, loaded; its values, Swin V2's and MAE's beside mmpretrain's own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mmswin.environment.importable import mmpretrain_folder

STEPS = Path(__file__).with_name('pretrain_steps.py')


@pytest.fixture(scope='module')
def answers(tmp_path_factory):
    """What the steps said; mmpretrain is imported once, in a process of its own."""
    if not (mmpretrain_folder() / 'mmpretrain').is_dir():
        pytest.skip(f'mmpretrain: NOT CHECKED, it is not in {mmpretrain_folder()} (make pretrain installs it)')
    directory = tmp_path_factory.mktemp('pretraining')
    done = subprocess.run([sys.executable, STEPS, directory], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    found = {'directory': directory}
    for line in done.stdout.splitlines():
        if line.startswith('{'):
            found |= json.loads(line)
    return found


def test_swin_v2_is_mmpretrains(answers):
    assert answers['v2']['maps'] <= 1e-10 and answers['v2']['gradients'] <= 1e-10


def test_simmim_has_mmpretrains_loss_and_gradients(answers):
    assert answers['simmim']['loss'] <= 1e-12 and answers['simmim']['gradients'] <= 1e-10


def test_a_vit_takes_mmpretrains_mae(answers):
    assert answers['mae']['tokens'] <= 1e-10
    assert answers['mae']['loaded'] and answers['mae']['format'] == 'mmpretrain'


def test_it_trains_resumes_and_serves_a_detector(answers):
    for step in ('mae run', 'half', 'resume', 'browse'):
        assert answers[step]['status'] == 0, answers[step]['output'][-2000:]
    assert 'epoch_1.pth' in answers['resume']['output']
    assert answers['token'] > 0  # it was there to go on from, and did
    assert answers['detector']['loaded']
    assert 'backbone.mask_token' in answers['detector']['unused']


def test_masked_reconstructed_and_whole_pictures_stand_side_by_side(answers):
    import cv2

    pictures = sorted((answers['directory'] / 'seen').iterdir())
    assert len(pictures) == 2
    height, width, _ = cv2.imread(str(pictures[0])).shape  # small ones are drawn larger
    assert width == 3 * height
