"""The extra block of HTC++: its size, its values beside the formulas written out, and what it leaves alone."""

import pytest
import torch
import torch.nn.functional as F

from mmswin.necks import GlobalBlock


@pytest.mark.parametrize(('channels', 'heads', 'parameters'), [(1024, 32, 12_596_224), (1536, 48, 28_331_520)])
def test_it_has_the_parameters_that_the_paper_s_totals_leave_for_it(channels: int, heads: int, parameters: int) -> None:
    with torch.device('meta'):
        neck = GlobalBlock(channels, heads)
    assert sum(parameter.numel() for parameter in neck.parameters()) == parameters


def test_the_last_map_is_attention_and_mlp_over_all_places() -> None:
    torch.manual_seed(0)
    neck = GlobalBlock(8, 2, mlp_ratio=3).double()
    for parameter in neck.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    first, last = torch.randn(2, 4, 10, 14).double(), torch.randn(2, 8, 5, 7).double()
    maps = neck((first, last))
    assert maps[0] is first and maps[1].shape == last.shape
    block, x = neck.block, last.flatten(2).mT  # 2 x 35 x 8
    q, k, v = (part.view(2, 35, 2, 4).transpose(1, 2) for part in block.attn.qkv(block.norm1(x)).chunk(3, -1))
    attended = ((q @ k.mT / 4**0.5).softmax(-1) @ v).transpose(1, 2).reshape(2, 35, 8)
    x = x + block.attn.proj(attended)
    x = x + block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm2(x))))
    torch.testing.assert_close(maps[1], x.mT.reshape(2, 8, 5, 7))


def test_weights_start_small_and_paths_are_dropped_in_training_alone() -> None:
    torch.manual_seed(0)
    neck = GlobalBlock(64, 4, drop_path_rate=1.0)
    neck.init_weights()
    weight = neck.block.mlp.fc1.weight
    assert weight.std().item() == pytest.approx(0.02, rel=0.05) and not neck.block.mlp.fc1.bias.any()
    x = torch.randn(1, 64, 3, 3)
    assert torch.equal(neck.train()([x])[0], x) and not torch.equal(neck.eval()([x])[0], x)


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match='num_heads=3 .*channels=8'):
        GlobalBlock(8, 3)
    with pytest.raises(ValueError, match='num_heads=0'):
        GlobalBlock(8, 0)
    with pytest.raises(ValueError, match='mlp_ratio=-1'):
        GlobalBlock(8, 2, mlp_ratio=-1)
    with pytest.raises(ValueError, match='drop_path_rate=2'):
        GlobalBlock(8, 2, drop_path_rate=2)
    with pytest.raises(ValueError, match='4 channels'):
        GlobalBlock(8, 2)([torch.zeros(1, 4, 3, 3)])
