"""What tests of pretraining and of Swin V2 ask of mmpretrain, answered by one process, as in classify_steps.py."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from classify_steps import ROOT, call, write_data
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from mmswin.backbones import SwinTransformer, SwinTransformerV2, ViTPyramid
from mmswin.checkpoints.convert import translate
from mmswin.environment.importable import make_mmpretrain_importable

CONFIG = f"""
_base_ = {str(ROOT / 'configs' / 'simmim_swin_b_in1k.py')!r}
small = dict(arch=None, embed_dims=8, depths=(1, 1, 1, 2), num_heads=(1, 1, 2, 2), window_size=2)
model = dict(backbone=small, neck=dict(in_channels=64))
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(64, 64)),
    dict(type='SimMIMMaskGenerator', input_size=64, mask_patch_size=32, model_patch_size=4, mask_ratio=0.5),
    dict(type='PackInputs'),
]
data = dict(type='CustomDataset', data_root='data/train', with_label=False, pipeline=pipeline)
train_dataloader = dict(batch_size=6, num_workers=0, persistent_workers=False, dataset=dict(data, _delete_=True))
param_scheduler = []
train_cfg = dict(max_epochs=2)
default_hooks = dict(checkpoint=dict(interval=1), logger=dict(interval=1))
"""
MAE = f"""
_base_ = {str(ROOT / 'configs' / 'mae_vit_b_in1k.py')!r}
backbone = dict(arch='deit-t', img_size=64)
neck = dict(num_patches=16, embed_dim=192, decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2)
model = dict(backbone=backbone, neck=neck)
pictures = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(64, 64)), dict(type='PackInputs')]
data = dict(type='CustomDataset', data_root='data/train', with_label=False, pipeline=pictures)
train_dataloader = dict(batch_size=15, num_workers=0, persistent_workers=False, dataset=dict(data, _delete_=True))
param_scheduler = []
train_cfg = dict(max_epochs=1)
default_hooks = dict(checkpoint=dict(interval=1))
"""
DEPTHS, HEADS = (1, 1, 1, 2), (1, 2, 4, 8)


def built(cfg: dict[str, Any]) -> nn.Module:
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(cfg)


def randomized(model: nn.Module) -> nn.Module:
    """In float64, with weights that leave no part trivial."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, value in model.named_parameters():
            scale = 0.1 if value.dim() == 1 else 1.0 if 'logit' in name else 2 * value[0].numel() ** -0.5
            value.copy_(torch.randn_like(value) * scale + ('norm' in name and name.endswith('weight')))
    return nn.Module.train(model.double(), False)


def worst(found: Any, expected: Any) -> float:
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, expected, strict=True))


def gradients(ours: nn.Module, theirs: nn.Module) -> float:
    """The largest difference of gradients, as a part of the largest of a parameter."""
    named = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    translation = translate(named)
    expected: dict[str, Tensor] = {**translation.tensors, **translation.others}
    found = {name: p.grad for name, p in ours.named_parameters() if name in expected}
    assert len(found) > 60
    return worst(list(found.values()), [expected[name] for name in found])


def second_version() -> dict[str, float]:
    """Maps and gradients of Swin V2 at an odd size, offsets measured in other windows than its own."""
    arch = dict(embed_dims=16, depths=list(DEPTHS), num_heads=list(HEADS), extra_norm_every_n_blocks=0)
    common = dict(window_size=4, pretrained_window_sizes=[6, 6, 6, 3], drop_path_rate=0.0)
    theirs = randomized(built(dict(
        type='SwinTransformerV2', arch=arch, out_indices=(0, 1, 2, 3), pad_small_map=True, **common)))  # fmt: skip
    ours = SwinTransformerV2(embed_dims=16, depths=DEPTHS, num_heads=HEADS, **common).double()
    ours.load_state_dict(theirs.state_dict(), strict=False)
    image = torch.randn(1, 3, 81, 61, dtype=torch.float64)
    maps = [model(image) for model in (ours, theirs)]
    for outs in maps:
        sum(out.sin().sum() for out in outs).backward()
    return {'maps': worst(*maps), 'gradients': gradients(ours, theirs)}


def simmim() -> dict[str, float]:
    """Loss and gradients of SimMIM with mmpretrain's backbone and with mmswin's."""
    loss = dict(type='PixelReconstructionLoss', criterion='L1', channel=3)
    parts = dict(
        type='SimMIM', neck=dict(type='SimMIMLinearDecoder', in_channels=128, encoder_stride=32),
        head=dict(type='SimMIMHead', patch_size=4, loss=loss))  # fmt: skip
    arch, windows = dict(embed_dims=16, depths=list(DEPTHS), num_heads=list(HEADS)), dict(window_size=2)
    theirs = randomized(built({**parts, 'backbone': dict(
        type='SimMIMSwinTransformer', arch=arch, img_size=64, drop_path_rate=0.0,
        stage_cfgs=dict(block_cfgs=windows))}))  # fmt: skip
    ours = built({**parts, 'backbone': dict(
        type='mmswin.MaskedSwinTransformer', embed_dims=16, depths=DEPTHS, num_heads=HEADS, out_indices=(3,),
        drop_path_rate=0.0, shift_small_maps=False, **windows)}).double()  # fmt: skip
    ours.load_state_dict(theirs.state_dict(), strict=False)
    from mmpretrain.structures import DataSample

    samples, image = [DataSample(), DataSample()], torch.randn(2, 3, 64, 64, dtype=torch.float64)
    for sample in samples:
        sample.set_field(torch.randint(0, 2, (2, 2)).repeat_interleave(8, 0).repeat_interleave(8, 1), 'mask')
    losses = [model(image, samples, mode='loss')['loss'] for model in (ours, theirs)]
    for value in losses:
        value.backward()
    return {'loss': float((losses[0] - losses[1]).abs()), 'gradients': gradients(ours.backbone, theirs.backbone)}


@torch.no_grad()
def mae() -> dict[str, Any]:
    """Tokens of mmpretrain's MAEViT, nothing masked, and of ViTPyramid with the file of the whole MAE."""
    sizes = dict(num_patches=16, patch_size=16, in_chans=3, embed_dim=192)
    decoder = dict(decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2, mlp_ratio=4.0)
    loss = dict(type='PixelReconstructionLoss', criterion='L2')
    theirs = randomized(built(dict(
        type='MAE', backbone=dict(type='MAEViT', arch='deit-t', img_size=64, patch_size=16),
        neck=dict(type='MAEPretrainDecoder', **sizes, **decoder),
        head=dict(type='MAEPretrainHead', patch_size=16, loss=loss))))  # fmt: skip
    ours = ViTPyramid(arch='deit-tiny', pretrain_img_size=64, out_indices=(2,)).double().eval()
    ours.load_state_dict(theirs.state_dict(), strict=False)
    image = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    tokens = theirs.backbone(image, mask=None)
    report = ours.load_report
    return {'tokens': worst([ours(image)[0].flatten(2).transpose(1, 2)], [tokens[0][None, 1:] if tokens[0].dim() == 2
            else tokens[0][:, 1:]]), 'loaded': report.loaded == report.total, 'format': report.format}  # fmt: skip


def token_of(epoch: int) -> Tensor:
    return torch.load(f'run/epoch_{epoch}.pth', weights_only=False)['state_dict']['backbone.mask_token']


def detector() -> dict[str, Any]:
    """What the pretrained encoders fill of a detector's backbone."""
    vit = ViTPyramid(arch='deit-tiny', init_cfg=dict(type='Pretrained', checkpoint='mae/epoch_1.pth'))
    vit.init_weights()
    assert vit.load_report.loaded == vit.load_report.total
    small = dict(embed_dims=8, depths=(1, 1, 1, 2), num_heads=(1, 1, 2, 2), window_size=2)
    net = SwinTransformer(**small, init_cfg=dict(type='Pretrained', checkpoint='run/epoch_2.pth'))
    net.init_weights()
    return {'loaded': net.load_report.loaded == net.load_report.total, 'unused': net.load_report.unused}


def main() -> None:
    os.chdir(sys.argv[1])
    write_data(Path('data'))
    Path('simmim.py').write_text(CONFIG)
    Path('mae.py').write_text(MAE)
    assert make_mmpretrain_importable()
    first = ('train', 'simmim.py', '--work-dir', 'run', '--amp', 'bf16')
    steps: dict[str, Callable[[], Any]] = {
        'v2': second_version,
        'simmim': simmim,
        'mae': mae,
        'mae run': lambda: call('train', 'mae.py', '--work-dir', 'mae'),
        'half': lambda: call(*first, '--cfg-options', 'train_cfg.max_epochs=1'),
        'resume': lambda: call(*first, '--resume'),
        'token': lambda: float((token_of(2) - token_of(1)).abs().max()) if token_of(1).abs().sum() else None,
        'detector': detector,
        'browse': lambda: call(
            'browse', 'simmim.py', '--out', 'seen', '--number', 2, '--checkpoint', 'run/epoch_2.pth'
        ),
    }
    for name, step in steps.items():
        print(json.dumps({name: step()}), flush=True)


if __name__ == '__main__':
    main()
