"""Before a run: weights are matched against the model as mmengine would load them, local pretrained files are opened,
and a model that cannot be built says why in one line.
"""

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmswin.checkpoints import CheckpointError
from mmswin.data import checks
from mmswin.data.checked_dataset import Finding, Report
from mmswin.engine.preflight import (
    AbsentDataError,
    build_model,
    check_data,
    check_pretrained,
    check_weights,
    match_weights,
    state_dict_of,
)
from mmswin.errors import RunError


def model(classes: int = 3) -> nn.Module:
    return nn.ModuleDict(
        {'backbone': nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), 'head': nn.Linear(4, classes)}
    )


def test_own_weights_match_and_are_loaded():
    source, target = model(), model()
    match = match_weights(target, source.state_dict())
    assert (match.matched, match.total, match.fraction) == (8, 8, 1.0)
    assert torch.equal(source['head'].weight, target['head'].weight)


def test_missing_mismatched_and_unexpected_are_told_apart():
    state = model(classes=5).state_dict()
    del state['backbone.0.weight']
    state['neck.weight'] = torch.zeros(1)
    match = match_weights(model(), state)
    assert match.missing == ['backbone.0.weight']
    assert match.mismatched == ['head.weight', 'head.bias']
    assert match.unexpected == ['neck.weight']
    assert (match.matched, match.total) == (5, 8)
    assert match.summary() == (
        '5 of 8 tensors of the model match, 1 missing (backbone.0.weight), 2 of another shape, which keep their random initialisation '
        '(head.weight/bias), 1 in the file only (neck.weight)'
    )
    assert match.outcome() == match.summary() + '; what is missing stays random'


def test_arrays_in_place_of_tensors_are_no_match():
    state = {name: value.numpy() for name, value in model().state_dict().items()}
    match = match_weights(model(), state)
    assert (match.matched, len(match.mismatched)) == (0, match.total)


def test_names_of_a_file_are_shown_escaped():
    state = {**model().state_dict(), 'neck\x1b[2J': torch.zeros(1)}
    assert match_weights(model(), state).summary().endswith(r'1 in the file only (neck\x1b[2J)')


@pytest.mark.parametrize(
    'wrap',
    [
        lambda state: {'state_dict': state, 'meta': {}},
        lambda state: {'model': state},
        lambda state: {'state_dict': {f'module.{name}': value for name, value in state.items()}},
        lambda state: state,
    ],
)
def test_weights_are_found_in_the_usual_wrappings(wrap):
    state = dict(model().state_dict())
    assert state_dict_of(wrap(state)).keys() == state.keys()


def test_other_number_of_classes():
    """Fine-tuning may load it; testing and resuming may not, and are told the likely cause."""
    checkpoint = {'state_dict': model(classes=80).state_dict()}
    assert check_weights(model(), checkpoint, 'x.pth', 'load').matched == 6
    for purpose in ('test', 'resume'):
        with pytest.raises(CheckpointError, match=r'x\.pth is not for this model: 6 of 8 .* number of classes'):
            check_weights(model(), checkpoint, 'x.pth', purpose)


def test_resuming_needs_every_tensor():
    state = {f'head.{i}.weight': torch.zeros(1, 1) for i in range(19)}
    network = nn.ModuleDict({'head': nn.ModuleList(nn.Linear(1, 1, bias=False) for _ in range(20))})
    check_weights(network, state, 'x.pth', 'test')
    with pytest.raises(CheckpointError, match='--load-from'):
        check_weights(network, state, 'x.pth', 'resume')


def test_one_layer_of_another_shape_is_too_much_for_predictions():
    state = {f'head.{i}.weight': torch.zeros(1, 2 if i == 19 else 1) for i in range(20)}
    network = nn.ModuleDict({'head': nn.ModuleList(nn.Linear(1, 1, bias=False) for _ in range(20))})
    with pytest.raises(CheckpointError, match='19 of 20.*number of classes'):
        check_weights(network, state, 'x.pth', 'test')
    assert check_weights(network, state, 'x.pth', 'load').mismatched == ['head.19.weight']


def test_weights_of_a_backbone_alone():
    state = {name.removeprefix('backbone.'): value for name, value in model().state_dict().items()}
    with pytest.raises(CheckpointError, match='init_cfg'):
        check_weights(model(), {'0.weight': state['0.weight']}, 'x.pth', 'load')


def test_pretrained_weights_are_fetched_beforehand(monkeypatch, tmp_path):
    def offline(url, *_args, **_kwargs):
        raise OSError('Name or service not known')

    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', offline)
    backbone = {'type': 'X', 'init_cfg': {'type': 'Pretrained', 'checkpoint': 'https://example.invalid/x.pth'}}
    with pytest.raises(CheckpointError, match=r'could not be downloaded.*model\.backbone\.init_cfg=None'):
        check_pretrained(Config({'model': {'backbone': backbone}}))
    torch.save(model().state_dict(), tmp_path / 'checkpoints' / 'x.pth')
    check_pretrained(Config({'model': {'backbone': backbone}}))


def test_local_pretrained_files_are_opened_and_other_schemes_are_not(tmp_path):
    backbone = {'init_cfg': {'type': 'Pretrained', 'checkpoint': 'torchvision://resnet50'}}
    check_pretrained(Config({'model': {'backbone': backbone}}))
    path = tmp_path / 'cut.pth'
    torch.save(model().state_dict(), path)
    path.write_bytes(path.read_bytes()[:200])
    for named in ({'init_cfg': [{'type': 'Pretrained', 'checkpoint': str(path)}]}, {'pretrained': str(path)}):
        with pytest.raises(CheckpointError, match=r'cut\.pth'):
            check_pretrained(Config({'model': {'backbone': named}}))


def test_unknown_type_and_bad_value_are_one_line():
    for backbone, said in (({'type': 'NoSuchNet'}, 'NoSuchNet'), ({'type': 'ResNet', 'depth': 51}, '51')):
        cfg = Config({'default_scope': 'mmdet', 'model': {**backbone}})
        with pytest.raises(RunError, match=said) as caught:
            build_model(cfg)
        assert str(caught.value).startswith('the model cannot be built: ')


@pytest.mark.parametrize(('absent', 'kind'), [((True, True), AbsentDataError), ((True, False), RunError)])
def test_going_on_is_offered_where_it_can_help(monkeypatch, absent, kind):
    found = [Finding('warning', 'odd', 'train'), *(Finding('error', f'fault {gone}', 'train', gone) for gone in absent)]
    monkeypatch.setattr(checks, 'inspect_config', lambda cfg, splits: Report(found))
    with pytest.raises(kind, match='fault True') as raised:
        check_data(Config(), ('train',))
    assert ('--skip-data-check' in str(raised.value)) == (kind is RunError)
