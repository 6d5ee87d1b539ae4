"""The ablations of CIFAR-100 that docs/classify.md has: one command with one more option each, which change what they say."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from mmswin.backbones import SwinMLP, SwinTransformer, SwinTransformerV2
from mmswin.cli import train
from mmswin.cli.parsing import run_options
from mmswin.engine.configure import load_config

PAGE = (Path(__file__).resolve().parents[3] / 'docs' / 'classify.md').read_text(encoding='utf-8')
SECTION = PAGE.split('## Ablations', 1)[1].split('\n## ', 1)[0]
COMMAND = shlex.split(re.search(r'```bash\nmmswin train (.*?)```', SECTION, re.DOTALL)[1].replace('\\\n', ' '))
OPTIONS = re.findall(r'\| `(\S+=\S+)` \|', SECTION)


def configured(*options: str) -> Config:
    given = run_options(train.parse_args([*COMMAND, *options]))
    return load_config(given['config'], given['cfg_options'], None, mmpretrain=False)


def backbone_of(cfg: Config) -> torch.nn.Module:
    return MODELS.build(cfg.model.backbone).eval()


def test_it_is_a_quarter_of_the_schedule():
    warm_up, decay = configured().param_scheduler
    whole = load_config('swin_cifar100', None, None, mmpretrain=False)
    assert configured().train_cfg.max_epochs * 4 == whole.train_cfg.max_epochs
    assert (warm_up.begin, warm_up.end, decay.begin) == (0, 3, 3)
    assert decay.end == decay.begin + decay.T_max == configured().train_cfg.max_epochs


@pytest.mark.parametrize('option', OPTIONS)
def test_each_changes_one_thing(option):
    plain, other = configured(), configured(option)
    changed = {key for key, value in other.model.backbone.items() if plain.model.backbone.get(key) != value}
    assert len(changed) == 1
    net = backbone_of(other)
    assert net(torch.rand(1, 3, 32, 32))[0].shape == (1, 192, 4, 4)


def test_they_are_those_of_the_table():
    nets = [backbone_of(configured(option)) for option in OPTIONS]
    assert list(map(type, nets)) == [SwinTransformer, SwinTransformer, SwinTransformerV2, SwinMLP]
    no_shift, no_bias = (net.layers[0].blocks[1].attn for net in nets[:2])
    assert no_shift.shift == (0, 0) and no_bias.shift == (2, 2)
    assert no_shift.relative_position_bias_table is not None and no_bias.relative_position_bias_table is None
