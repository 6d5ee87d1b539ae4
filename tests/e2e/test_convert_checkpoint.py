"""tools/convert_checkpoint.py as a user calls it."""

import torch

from mmswin.backbones import SwinTransformer


def test_conversion_and_its_errors(workplace):
    model = SwinTransformer(embed_dims=12, depths=(1, 1, 1, 1), num_heads=(1, 2, 3, 4), window_size=2)
    torch.save(model.state_dict(), workplace.directory / 'swin.pth')
    done = workplace.call('convert_checkpoint.py', 'swin.pth', 'for_mmdet.pth', '--to', 'mmdet')
    assert done.status == 0, done.output
    assert 'verified   mmdet ' in done.output
    written = torch.load(workplace.directory / 'for_mmdet.pth', weights_only=True)['state_dict']
    assert 'backbone.stages.0.blocks.0.attn.w_msa.qkv.weight' in written
    again = workplace.call('convert_checkpoint.py', 'swin.pth', 'for_mmdet.pth', '--to', 'mmdet')
    assert again.status == 2
    assert 'error: for_mmdet.pth exists: give another name, or --overwrite' in again.output
