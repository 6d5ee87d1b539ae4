"""The checkpoint hook deletes an old file when the new one is whole, and a save that fails ends the run with a word."""

import errno
import os
from pathlib import Path

import pytest
from mmengine.evaluator import BaseMetric, Evaluator

from mmswin.checkpoints import load_file
from mmswin.checkpoints.mmengine_loader import load_from_mmswin
from mmswin.engine import saving
from mmswin.engine.saving import Runner
from mmswin.errors import SavingError

EPOCHS = {'type': 'mmswin.EpochBasedTrainLoop', 'max_epochs': 5}


class Scores(BaseMetric):
    """Scores in the order given, one for each validation."""

    def __init__(self, scores: list[float]) -> None:
        super().__init__()
        self.scores = list(scores)

    def process(self, data_batch, data_samples) -> None:
        self.results.append(0)

    def compute_metrics(self, results) -> dict[str, float]:
        return {'score': self.scores.pop(0)}


@pytest.fixture
def build(toy_runner, numbers, tmp_path):
    """Builds toy runners with the hook, in ``tmp_path/run``."""

    def make(scores: list[float] = (), **kwargs):
        hook = {'type': 'mmswin.CheckpointHook', 'interval': 1, **kwargs.pop('hook', {})}
        validation = {}
        if scores:
            validation = {
                'val_dataloader': {
                    'dataset': numbers,
                    'batch_size': 5,
                    'num_workers': 0,
                    'sampler': {'type': 'DefaultSampler', 'shuffle': False},
                },
                'val_cfg': {},
                'val_evaluator': Evaluator(Scores(scores)),
            }
        return toy_runner(
            tmp_path / 'run',
            EPOCHS,
            runner_class=Runner,
            default_hooks={'logger': None, 'checkpoint': hook},
            **validation,
            **kwargs,
        )

    return make


def names(directory: Path) -> list[str]:
    return sorted(p.name for p in directory.glob('*.pth'))


class Watch:
    """Records what is in the directory at each moment of writing; may fail from a certain file on."""

    def __init__(self, monkeypatch, room: int | None = None) -> None:
        self.moments: list[tuple[str, list[str]]] = []
        self._room = room
        self._replace = os.replace
        monkeypatch.setattr(saving.os, 'replace', self)

    def __call__(self, source: Path, target: Path) -> None:
        present = names(target.parent)
        self.moments.append((target.name, present))
        if target.suffix == '.pth' and self._room is not None and len({*present, target.name}) > self._room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._replace(source, target)


def test_old_files_are_there_until_the_new_one_is_whole(build, tmp_path, monkeypatch):
    watch = Watch(monkeypatch)
    build(hook={'max_keep_ckpts': 2}).train()
    saved = [(name, present) for name, present in watch.moments if name.endswith('.pth')]
    assert saved[3] == ('epoch_4.pth', ['epoch_2.pth', 'epoch_3.pth'])
    assert names(tmp_path / 'run') == ['epoch_4.pth', 'epoch_5.pth']
    assert (tmp_path / 'run' / 'last_checkpoint').read_text() == str(tmp_path / 'run' / 'epoch_5.pth')
    assert [name for name, _ in watch.moments][-2:] == ['epoch_5.pth', 'last_checkpoint']


def test_kill_between_saving_and_deleting_is_made_good_by_the_next_run(build, tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    runner = build(hook={'max_keep_ckpts': 2})
    monkeypatch.setattr(
        'mmswin.engine.checkpoint_hook.CheckpointHook._delete',
        lambda self, steps: (_ for _ in ()).throw(Killed) if steps else None,
    )
    with pytest.raises(Killed):
        runner.train()
    assert names(tmp_path / 'run') == ['epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth']
    monkeypatch.undo()
    build(hook={'max_keep_ckpts': 2}, resume=True, load_from=str(tmp_path / 'run' / 'epoch_3.pth')).train()
    assert names(tmp_path / 'run') == ['epoch_4.pth', 'epoch_5.pth']


def test_previous_best_is_there_until_the_new_best_is_whole(build, tmp_path, monkeypatch):
    watch = Watch(monkeypatch)
    build([0.1, 0.3, 0.2, 0.5, 0.4], hook={'save_best': 'score', 'rule': 'greater', 'max_keep_ckpts': 1}).train()
    moment = dict(watch.moments)
    assert 'best_score_epoch_1.pth' in moment['best_score_epoch_2.pth']
    assert 'best_score_epoch_2.pth' in moment['best_score_epoch_4.pth']
    assert names(tmp_path / 'run') == ['best_score_epoch_4.pth', 'epoch_5.pth']
    hub = load_file(tmp_path / 'run' / 'epoch_5.pth')['message_hub']['runtime_info']
    assert hub['best_score'] == 0.5
    assert hub['best_ckpt'].endswith('best_score_epoch_4.pth')


def test_no_room_ends_the_run_with_the_last_good_one(build, tmp_path, monkeypatch):
    Watch(monkeypatch, room=2)
    with pytest.raises(SavingError) as caught:
        build().train()
    assert names(tmp_path / 'run') == ['epoch_1.pth', 'epoch_2.pth']
    assert (tmp_path / 'run' / 'last_checkpoint').read_text().endswith('epoch_2.pth')
    for text in (
        'epoch_3.pth could not be saved: No space left on device',
        'Training stops',
        'the last complete checkpoint is',
        'epoch_2.pth',
        '--resume',
    ):
        assert text in str(caught.value)
    assert not list((tmp_path / 'run').glob('*tmp*'))


def test_room_for_as_many_as_are_kept_is_enough_unless_it_is_one(build, tmp_path, monkeypatch):
    Watch(monkeypatch, room=2)
    build(hook={'max_keep_ckpts': 2}).train()
    assert names(tmp_path / 'run') == ['epoch_4.pth', 'epoch_5.pth']


def test_the_only_checkpoint_is_never_given_up_for_one_that_is_not_whole(build, tmp_path, monkeypatch):
    Watch(monkeypatch, room=1)
    with pytest.raises(SavingError, match=r'epoch_2\.pth could not be saved'):
        build(hook={'max_keep_ckpts': 1}).train()
    assert names(tmp_path / 'run') == ['epoch_1.pth']


def test_no_room_for_the_best_keeps_the_previous_best(build, tmp_path, monkeypatch):
    Watch(monkeypatch, room=3)
    with pytest.raises(SavingError, match=r'best_score_epoch_2\.pth could not be saved'):
        build([0.1, 0.3], hook={'save_best': 'score', 'rule': 'greater'}).train()
    assert names(tmp_path / 'run') == ['best_score_epoch_1.pth', 'epoch_1.pth', 'epoch_2.pth']


def test_leftovers_of_a_killed_save_are_removed_at_the_start(build, tmp_path):
    (tmp_path / 'run').mkdir()
    left = tmp_path / 'run' / 'epoch_9.pth.elsewhere.3.mmswin-tmp'
    left.touch()
    os.utime(left, (1e9, 1e9))
    build().train()
    assert not left.exists()


def test_all_processes_end_when_the_first_cannot_save(build, monkeypatch):
    monkeypatch.setattr('mmswin.engine.checkpoint_hook.gather', lambda fault: ['no room at process 0', None])
    with pytest.raises(SavingError, match=r'no room at process 0\. Training stops; the last complete .*epoch_5'):
        build(hook={'interval': 5}).train()


def test_what_is_published_holds_what_was_saved(build, tmp_path):
    build(hook={'published_keys': ['meta', 'state_dict'], 'max_keep_ckpts': 1}).train()
    saved, published = (load_file(path) for path in sorted((tmp_path / 'run').glob('*.pth'), key=lambda p: len(p.name)))
    assert published.keys() == {'meta', 'state_dict'}
    assert published['meta']['cfg'] == saved['meta']['cfg']
    assert load_from_mmswin(str(tmp_path / 'run' / 'epoch_5.pth'))['meta'].keys().isdisjoint({'cfg'})
