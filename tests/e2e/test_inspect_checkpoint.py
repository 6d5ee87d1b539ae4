"""tools/inspect_checkpoint.py as a user calls it: one screen, and nothing in the file is run."""

import os

import torch

from mmswin.backbones import SwinTransformer


class Dangerous:
    def __reduce__(self):
        return os.mkdir, ('it_was_run',)


def test_one_screen_and_no_code(workplace):
    model = SwinTransformer(embed_dims=12, depths=(1, 1, 1, 1), num_heads=(1, 2, 3, 4), window_size=2)
    torch.save({'model': model.state_dict(), 'epoch': 4}, workplace.directory / 'swin_for_inspection.pth')
    done = workplace.call('inspect_checkpoint.py', 'swin_for_inspection.pth')
    assert done.status == 0, done.output
    lines = [line for line in done.output.splitlines() if 'arn' not in line]
    assert len(lines) <= 24
    assert all(len(line) <= 140 for line in lines)
    assert 'window     2x2: window_size=2' in lines
    torch.save({'model': model.state_dict(), 'extra': Dangerous()}, workplace.directory / 'dangerous.pth')
    done = workplace.call('inspect_checkpoint.py', 'dangerous.pth')
    assert done.status == 2
    assert 'which is not among the safe ones' in done.output
    assert not (workplace.directory / 'it_was_run').exists()
