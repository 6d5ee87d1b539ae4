"""Blocks that somebody has hooked, replaced or changed are computed by their modules, one by one."""

import logging

import pytest
import torch
from models import LEAN, nets

from mmswin import SwinTransformer
from mmswin.backbones.swin import SwinBlock
from mmswin.ops import execution
from mmswin.ops.cpu import inference


def _parts(block):
    return {name: module for name, module in block.named_modules() if name}


PARTS = sorted(_parts(SwinTransformer(embed_dims=32, depths=(1,), num_heads=(1,), strides=(4,), out_indices=(0,),
                                      init_cfg=None).layers[0].blocks[0]))  # fmt: skip


@pytest.mark.parametrize('part', PARTS)
@pytest.mark.parametrize('training', [True, False])
def test_every_hook_is_called(part, training):
    net = nets(torch.float32, (LEAN,))[0].train(training)
    calls = []
    module = net.layers[1].blocks[1].get_submodule(part)
    module.register_forward_hook(lambda module, args, out: calls.append('forward'))
    module.register_forward_pre_hook(lambda module, args: calls.append('before'))
    with torch.set_grad_enabled(training):
        net(torch.randn(1, 3, 64, 64))
    times = 2 if part == 'mlp.drop' else 1
    assert sorted(calls) == ['before'] * times + ['forward'] * times


def test_hooks_of_all_modules_and_of_blocks_are_called():
    net = nets(torch.float32, (LEAN,))[0].eval()
    seen = []
    handle = torch.nn.modules.module.register_module_forward_hook(lambda module, args, out: seen.append(type(module)))
    with torch.no_grad():
        net(torch.randn(1, 3, 64, 64))
    handle.remove()
    assert seen.count(SwinBlock) == 6
    outs = []
    net.layers[0].blocks[0].register_forward_hook(lambda module, args, out: outs.append((out, out.clone())))
    with torch.no_grad():
        net(torch.randn(1, 3, 64, 64))
    assert torch.equal(*outs[0])


@pytest.mark.parametrize('training', [True, False])
def test_replaced_parts_are_used(training):
    class Doubled(torch.nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    x = torch.randn(1, 3, 64, 64)
    net = nets(torch.float32, (LEAN,), drop_path_rate=0.0)[0].train(training)
    before = net(x)[0].detach()
    mlp = net.layers[0].blocks[0].mlp
    doubled = Doubled(8, 32)
    doubled.load_state_dict(mlp.fc1.state_dict())
    mlp.fc1 = doubled
    with torch.set_grad_enabled(training):
        assert not torch.allclose(net(x)[0], before, atol=1e-3)


def test_attention_that_trains_in_a_block_that_does_not_drops_weights():
    (net,) = nets(ways=[LEAN], attn_drop_rate=0.5)
    x = torch.randn(1, 3, 40, 40, dtype=torch.float64)
    net.eval()
    with torch.no_grad():
        expected = net(x)[0]
        net.layers[0].blocks[0].attn.train()
        assert not torch.allclose(net(x)[0], expected)


def test_layers_whose_bias_is_a_method():
    """As those are that torch.ao.quantization puts in place of linear layers."""

    class Quantised(torch.nn.Module):
        def __init__(self, of):
            super().__init__()
            self.of = of

        def bias(self):
            return self.of.bias

        def forward(self, x):
            return self.of(x)

    (net,) = nets(ways=[LEAN])
    x = torch.randn(1, 3, 40, 40, dtype=torch.float64)
    with torch.no_grad():
        expected = net.eval()(x)
        attn = net.layers[0].blocks[0].attn
        attn.qkv = Quantised(attn.qkv)
        torch.testing.assert_close(net(x), expected)


def _reparametrise(block):
    torch.nn.utils.parametrizations.weight_norm(block.mlp.fc1)


def _replace_forward(block):
    block.attn.forward = block.attn.forward


def _subclass(block):
    block.__class__ = type('Sub', (SwinBlock,), {})


def _other_norm(block):
    block.norm2 = torch.nn.Identity()


def _hook(block):
    block.attn.proj.register_full_backward_hook(lambda *_: None)


@pytest.mark.parametrize('change', [_reparametrise, _replace_forward, _subclass, _other_norm, _hook])
def test_a_changed_block_is_called(change, caplog, monkeypatch):
    (net,) = nets(torch.float32, (LEAN,), drop_path_rate=0.0)
    block = net.layers[0].blocks[0]
    assert execution.is_unmodified(block)
    change(block)
    assert not execution.is_unmodified(block)
    replaced = []
    for room, name in ((execution, '_run_block'), (inference, 'run_block')):
        way = getattr(room, name)
        monkeypatch.setattr(room, name, lambda block, x, way=way: (replaced.append(block), way(block, x))[1])
    execution._say_once.cache_clear()
    with caplog.at_level(logging.WARNING, 'mmswin'):
        for training in (True, False):
            with torch.set_grad_enabled(training):
                net.train(training)(torch.randn(1, 3, 30, 30))
    assert len(replaced) == 2 * 5 and block not in replaced
    assert len(caplog.records) == 1
    assert 'hooks' in caplog.text


@pytest.mark.parametrize('training', [True, False])
def test_a_forward_that_a_class_is_given_later_is_called(training, monkeypatch):
    (net,) = nets(ways=(LEAN,), drop_path_rate=0.0)
    x = torch.randn(1, 3, 30, 30, dtype=torch.float64)
    forward = SwinBlock.forward
    monkeypatch.setattr(SwinBlock, 'forward', lambda self, x: 0 * forward(self, x))
    with torch.set_grad_enabled(training):
        assert torch.equal(net.train(training)(x)[-1], net(-x)[-1])
