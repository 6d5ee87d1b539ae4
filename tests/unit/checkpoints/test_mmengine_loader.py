"""mmengine's own ways of loading, once mmswin is imported: nothing runs, nothing of a configuration arrives, whichever
Runner asks.
"""

import os
import uuid
from collections import OrderedDict

import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.logging import MMLogger
from mmengine.model import BaseModel, BaseModule
from mmengine.runner import CheckpointLoader, FlexibleRunner, Runner, load_checkpoint
from models import backbone
from torch import nn

from mmswin.checkpoints import CheckpointError, load_file, mmengine_loader
from mmswin.checkpoints.mmengine_loader import load_from_mmswin
from mmswin.errors import RunError, UnsafeCheckpointError
from mmswin.registry import MODELS  # and so the loader


class Running:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_any_load_of_mmengine_is_ours(tmp_path, monkeypatch):
    file = tmp_path / 'file.pth'
    weights = nn.Linear(1, 1).state_dict()
    torch.save({'state_dict': weights, 'meta': {'config': 'x', 'iter': 1}}, file)
    assert CheckpointLoader.load_checkpoint(str(file))['meta'] == {'iter': 1}
    model = nn.Linear(1, 1)
    load_checkpoint(model, 'file://' + str(file))
    assert torch.equal(model.weight, weights['weight'])
    spaced = file.rename(tmp_path / 'a file.pth')
    load_checkpoint(nn.Linear(1, 1), spaced.as_uri())  # with %20
    monkeypatch.chdir(tmp_path.parent)
    load_checkpoint(nn.Linear(1, 1), f'file://{tmp_path.name}/a file.pth')


def test_a_whole_model_under_another_name_is_loaded_by_a_runner(tmp_path):
    """mmengine's Runner looks for ``state_dict`` alone; the authors' files, and many others, have ``model``."""
    model = torch.nn.Linear(2, 2)
    weights = {name: torch.ones_like(value) for name, value in model.state_dict().items()}
    torch.save({'model': weights, 'epoch': 3}, tmp_path / 'a.pth')
    runner = Runner(model, str(tmp_path / 'run'), load_from=str(tmp_path / 'a.pth'), experiment_name='whole')
    runner.load_or_resume()
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert load_from_mmswin(str(tmp_path / 'a.pth'))['epoch'] == 3


def test_a_best_checkpoint_is_named_to_the_run_that_keeps_it(tmp_path):
    file, best = tmp_path / 'file.pth', str(tmp_path / 'best_a.pth')
    torch.save({'message_hub': {'runtime_info': {'best_ckpt': best}}}, file)
    logger = None
    for work_dir, known in (('.', {'best_ckpt': best}), ('other', {})):
        place = tmp_path / work_dir / 'time'
        place.mkdir(parents=True)
        logger = MMLogger.get_instance(uuid.uuid4().hex, log_file=str(place / 'time.log'))
        assert CheckpointLoader.load_checkpoint(str(file), logger=logger)['message_hub']['runtime_info'] == known


def test_nothing_runs(tmp_path):
    torch.save({'state_dict': {'a': torch.zeros(1)}, 'meta': Running(tmp_path / 'ran')}, tmp_path / 'file.pth')
    model = BaseModule(dict(type='Pretrained', checkpoint=str(tmp_path / 'file.pth')))
    for load in (lambda: load_checkpoint(nn.Linear(1, 1), str(tmp_path / 'file.pth')), model.init_weights):
        with pytest.raises(CheckpointError, match='mkdir'):
            load()
    assert not (tmp_path / 'ran').exists()


@pytest.fixture
def hostile(tmp_path):
    """A checkpoint that would make the directory 'ran'."""
    torch.save({'state_dict': {'a': torch.ones(1)}, 'extra': Running(tmp_path / 'ran')}, tmp_path / 'file.pth')
    return tmp_path / 'file.pth'


def test_trust_is_for_one_file_and_is_logged(tmp_path, hostile, monkeypatch):
    said = []
    monkeypatch.setattr(mmengine_loader, 'log', lambda text, level: said.append(text))
    other = tmp_path / 'sub' / 'other.pth'
    other.parent.mkdir()
    other.write_bytes(hostile.read_bytes())
    with mmengine_loader.trusting():
        mmengine_loader.trust(hostile)
        with pytest.raises(UnsafeCheckpointError, match=r'mkdir.* Or add --trust-checkpoint'):
            load_from_mmswin(str(other))
        assert not (tmp_path / 'ran').exists()
        assert load_from_mmswin(str(hostile))['state_dict']['a'].item() == 1
    assert (tmp_path / 'ran').exists()
    assert len(said) == 1 and said[0].startswith(f'{hostile}: --trust-checkpoint was given') and '.mkdir' in said[0]
    with pytest.raises(UnsafeCheckpointError) as refused:  # trust ends with the run
        load_from_mmswin(str(hostile))
    assert '--trust-checkpoint' not in str(refused.value)


def test_trust_of_a_work_dir_is_for_the_files_in_it(tmp_path, hostile):
    with mmengine_loader.trusting():
        mmengine_loader.trust(tmp_path)
        load_from_mmswin(str(hostile))
    assert (tmp_path / 'ran').exists()


def test_trust_without_a_checkpoint_is_an_error():
    with mmengine_loader.trusting(), pytest.raises(RunError, match='--trust-checkpoint is for the checkpoint'):
        mmengine_loader.trust(None)


def test_trust_does_not_cover_damage(tmp_path):
    (tmp_path / 'file.pth').write_bytes(b'PK\x03\x04')
    with mmengine_loader.trusting():
        mmengine_loader.trust(tmp_path / 'file.pth')
        with pytest.raises(CheckpointError, match='damaged or truncated'):
            load_from_mmswin(str(tmp_path / 'file.pth'))


def test_names_of_weights_that_are_no_strings(tmp_path):
    torch.save({3: torch.zeros(1)}, tmp_path / 'file.pth')
    with pytest.raises(CheckpointError, match=r'file\.pth'):
        load_checkpoint(nn.Linear(1, 1), str(tmp_path / 'file.pth'))


class Toy(BaseModel):
    """A Swin from a config that names mmswin."""

    def __init__(self):
        super().__init__()
        self.backbone = MODELS.build(backbone(out_indices=(0,), drop_path_rate=0.0))

    def forward(self, inputs, mode='loss'):
        maps = self.backbone(torch.stack(list(inputs)))
        return {'loss': maps[-1].square().mean()} if mode == 'loss' else [{} for _ in inputs]


class Scores(BaseMetric):
    def __init__(self, scores):
        super().__init__()
        self.scores = list(scores)

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return {'score': self.scores.pop(0)}


def run(kind, work_dir, epochs, scores, **more):
    """Train; stock mmengine's hooks, a validation after each epoch."""
    torch.manual_seed(0)
    images = [{'inputs': torch.full((3, 32, 32), float(i))} for i in range(4)]
    loader = dict(dataset=images, batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True))
    runner = kind(
        Toy(),
        work_dir=str(work_dir),
        train_dataloader=loader,
        val_dataloader={**loader, 'sampler': dict(type='DefaultSampler', shuffle=False)},
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=epochs),
        val_cfg={},
        val_evaluator=Evaluator(Scores(scores)),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.01)),
        param_scheduler=[dict(type='MultiStepLR', milestones=[1, 3], end=4)],
        default_hooks=dict(
            logger=None,
            checkpoint=dict(type='CheckpointHook', interval=1, save_best='score', rule='greater', max_keep_ckpts=1),
        ),
        experiment_name=uuid.uuid4().hex,
        log_level='ERROR',
        default_scope='mmengine',
        **{'randomness': {'seed': 0}, **more},
    )
    runner.train()
    return runner


def content(directory):
    return {path.name: path.read_bytes() for path in directory.rglob('*') if path.is_file()}


@pytest.fixture(params=[Runner, FlexibleRunner], ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


def test_a_resumed_run_deletes_its_own_best_checkpoint_alone(tmp_path, kind):
    run(kind, tmp_path / 'old', 2, [0.1, 0.3])
    before = content(tmp_path / 'old')
    again = dict(resume=True, load_from=str(tmp_path / 'old' / 'epoch_2.pth'))
    run(kind, tmp_path / 'new', 4, [0.5, 0.6], **again)
    assert content(tmp_path / 'old') == before
    run(kind, tmp_path / 'old', 4, [0.5, 0.6], **again)
    for name in ('new', 'old'):
        latest = {path.name for path in (tmp_path / name).glob('*.pth')}
        assert latest == {'epoch_4.pth', 'best_score_epoch_4.pth'}
    if kind is Runner:  # FlexibleRunner goes on an epoch too late
        run(kind, tmp_path / 'whole', 4, [0.1, 0.3, 0.5, 0.6])
        whole, *resumed = (load_file(tmp_path / name / 'epoch_4.pth') for name in ('whole', 'new', 'old'))
        for other in resumed:
            assert other['meta']['iter'] == whole['meta']['iter'] == 8
            assert other['param_schedulers'] == whole['param_schedulers']
            assert all(torch.equal(value, other['state_dict'][name]) for name, value in whole['state_dict'].items())


@pytest.mark.parametrize('resume', [True, False])
def test_a_hostile_checkpoint_neither_runs_nor_deletes_nor_decides(tmp_path, kind, resume):
    run(kind, tmp_path / 'run', 1, [0.1])
    mine = tmp_path / 'mine'
    mine.mkdir()
    (mine / 'best_thesis.pth').touch()
    file = load_file(tmp_path / 'run' / 'epoch_1.pth')
    weights = OrderedDict(file['state_dict'])
    weights._metadata = {'': {'assign_to_params_buffers': True}}
    code = f'import os\nos.mkdir({str(tmp_path / "ran")!r})'
    info = file['message_hub']['runtime_info']
    info.update(best_ckpt=str(mine / 'best_thesis.pth'), cfg=code, keep_ckpt_ids=['../../mine/best_thesis'])
    file['meta'].update(config=code, cfg=code, hook_msgs={'last_ckpt': str(mine)})
    torch.save({**file, 'state_dict': weights}, tmp_path / 'file.pth')
    runner = run(
        kind, tmp_path / 'new', 3 if resume else 2, [0.5, 0.6], resume=resume, load_from=str(tmp_path / 'file.pth')
    )
    assert not (tmp_path / 'ran').exists()
    assert content(mine).keys() == {'best_thesis.pth'}
    # The loaded weights are those that the optimizer trains.
    after = runner.model.state_dict()
    assert all(not torch.equal(after[name], weights[name]) for name in weights if name.endswith('fc1.weight'))
