"""timm's vision transformers with random weights in float64, against mmswin's: the hybrid with a ResNet, and DeiT III."""

import pytest
import torch

from mmswin.backbones import ViTHybrid, ViTPyramid

SMALL = dict(embed_dim=24, depth=2, num_heads=3, img_size=64)
OURS = dict(pretrain_img_size=64, embed_dims=24, depth=2, num_heads=3)


def _build(name):
    import timm

    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=5, **SMALL).double().eval()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn_like(value) * 0.1)
    return model


@pytest.mark.usefixtures('peers')
@pytest.mark.parametrize(
    ('name', 'kind', 'options'),
    [
        ('vit_base_r50_s16_224', ViTHybrid, {}),
        ('deit3_small_patch16_224', ViTPyramid, dict(patch_size=16, layer_scale_init_value=1e-6)),
    ],
)
@torch.no_grad()
def test_maps_equal_timms(name, kind, options):
    theirs, ours = _build(name), kind(**OURS, **options).double().eval()
    ours.load_state_dict(theirs.state_dict(), strict=False)
    assert (ours.load_report.loaded, ours.load_report.unexpected) == (ours.load_report.total, [])
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    maps = ours(x)
    tokens = theirs.forward_features(x)[:, 1:]
    torch.testing.assert_close(maps[2].flatten(2).transpose(1, 2), tokens, rtol=1e-10, atol=1e-10)
    if kind is ViTHybrid:
        expected = theirs.patch_embed.backbone.stem(x)
        for stage, found in zip(theirs.patch_embed.backbone.stages, maps[:2]):
            expected = stage(expected)
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
