"""Mask RepPoints V2 takes the names of the released checkpoint, where the mask head is a part of the box head."""

import re

import pytest
import torch
from models import mask_reppointsv2

from mmswin.registry import MODELS


@pytest.mark.usefixtures('mmdet_scope')
def test_the_names_of_the_released_checkpoint_load() -> None:
    model = MODELS.build(mask_reppointsv2())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    theirs = {'bbox_head.mask_head.head.sizes_of_interest': torch.tensor([64, 128, 256, 512, 1024])}
    for name, value in before.items():
        masks = name.removeprefix('mask_head.mask_feature_head.')
        if masks != name:
            masks = re.sub(r'convs_all_levels\.(\d)\.conv\d', r'refine.\1', masks)
            masks = masks.replace('conv_branch.', 'tower.').replace('conv_pred.', 'tower.4.')
            name = f'bbox_head.mask_head.branch.{masks}'
        theirs[name] = value + 1
    assert {'bbox_head.mask_head.branch.refine.2.conv.weight', 'bbox_head.mask_head.branch.tower.0.bn.running_var',
            'bbox_head.mask_head.branch.tower.4.bias'} <= set(theirs)  # fmt: skip
    model.load_state_dict(theirs)
    assert all(torch.equal(value, before[name] + 1) for name, value in model.state_dict().items())
    model.load_state_dict(model.state_dict())
