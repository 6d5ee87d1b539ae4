"""A checkpoint that could run code is read with --trust-checkpoint, and the log says so."""

import os

import pytest
import torch
from mmengine.config import Config

from mmswin.engine.preflight import build_model


class Making:
    """Pickles to a call that makes a directory unless it is there."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.makedirs, (self.path, 0o777, True)


@pytest.mark.slow
def test_trust_is_logged(workplace):
    model = build_model(Config.fromfile(workplace.detection))
    checkpoint, ran = workplace.directory / 'file.pth', workplace.directory / 'ran'
    torch.save({'state_dict': model.state_dict(), 'meta': {}, 'extra': Making(ran)}, checkpoint)
    trusted = workplace.call('test.py', workplace.detection, checkpoint, '--trust-checkpoint', warm=True)
    assert trusted.status == 0, trusted.output
    assert ran.exists()
    (log,) = (workplace.directory / 'work_dirs').rglob('*.log')
    assert '--trust-checkpoint was given, so the checkpoint is read in full' in log.read_text()
