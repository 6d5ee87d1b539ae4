"""--resume without a path takes the newest complete checkpoint; what cannot be resumed from is refused by name."""

import os
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmswin.checkpoints import CheckpointError
from mmswin.engine.resuming import forgotten, has_checkpoints, load_resumable, newest_complete_checkpoint
from mmswin.errors import RunError


def save(path: Path, iteration: int, age: int = 0) -> Path:
    """A checkpoint as mmengine lays it out, ``age`` seconds old."""
    torch.save(
        {
            'state_dict': {'weight': torch.zeros(50)},
            'optimizer': {},
            'message_hub': {'log_scalars': {}, 'runtime_info': {}, 'resumed_keys': {}},
            'meta': {'iter': iteration, 'epoch': 0},
        },
        path,
    )
    os.utime(path, (1e9 - age, 1e9 - age))
    return path


def truncate(path: Path) -> None:
    stamp = path.stat().st_mtime
    path.write_bytes(path.read_bytes()[:300])
    os.utime(path, (stamp, stamp))


def test_newest_is_the_one_that_last_checkpoint_names(tmp_path):
    save(tmp_path / 'epoch_1.pth', 10, age=20)
    named = save(tmp_path / 'epoch_2.pth', 20, age=10)
    (tmp_path / 'last_checkpoint').write_text(str(named))
    path, checkpoint, passed_over = newest_complete_checkpoint(tmp_path)
    assert (path, checkpoint['meta']['iter'], passed_over) == (named, 20, [])


def test_truncated_last_checkpoint_is_passed_over_and_named(tmp_path):
    whole = save(tmp_path / 'epoch_1.pth', 10, age=20)
    broken = save(tmp_path / 'epoch_2.pth', 20, age=10)
    truncate(broken)
    (tmp_path / 'last_checkpoint').write_text(str(broken))
    path, checkpoint, passed_over = newest_complete_checkpoint(tmp_path)
    assert (path, checkpoint['meta']['iter']) == (whole, 10)
    assert len(passed_over) == 1
    assert 'epoch_2.pth' in passed_over[0]


def test_file_being_written_when_killed_does_not_hide_the_one_before(tmp_path):
    """mmengine names a checkpoint in last_checkpoint only once it is written."""
    whole = save(tmp_path / 'iter_2.pth', 2, age=20)
    (tmp_path / 'last_checkpoint').write_text(str(whole))
    truncate(save(tmp_path / 'iter_4.pth', 4))
    assert newest_complete_checkpoint(tmp_path)[0] == whole


@pytest.mark.parametrize('content', [b'', b'\n', b'\xff\xfe\x00', b'/gone/iter_9.pth'])
def test_pointer_that_was_cut_off_or_leads_nowhere_hides_nothing(tmp_path, content):
    whole = save(tmp_path / 'iter_2.pth', 2)
    (tmp_path / 'last_checkpoint').write_bytes(content)
    assert newest_complete_checkpoint(tmp_path)[0] == whole


def test_what_a_checkpoint_does_not_bring_back_is_said():
    cfg = Config(
        {
            'train_dataloader': {'dataset': {'pipeline': [{'type': 'mmdet.CachedMosaic'}, {'type': 'RandomFlip'}]}},
            'model': {'data_preprocessor': {'batch_augments': [{'type': 'BatchSyncRandomResize'}]}},
            'optim_wrapper': {'accumulative_counts': 4},
        }
    )
    notes = forgotten(cfg, {'meta': {'iter': 6}})
    assert len(notes) == 3
    assert notes[0].startswith('CachedMosaic mixes')
    assert notes[1].startswith('BatchSyncRandomResize')
    assert 'of the last 2 are lost' in notes[2]
    plain = Config({'train_dataloader': {}, 'model': {}, 'optim_wrapper': {}})
    assert forgotten(plain, {'meta': {'iter': 6}}) == []


def test_links_that_lead_nowhere_hide_nothing(tmp_path):
    named = save(tmp_path / 'iter_2.pth', 2)
    (tmp_path / 'latest.pth').symlink_to(tmp_path / 'gone.pth')
    (tmp_path / 'a.pth').symlink_to(tmp_path / 'b.pth')
    (tmp_path / 'b.pth').symlink_to(tmp_path / 'a.pth')
    for pointer in (named, tmp_path / 'latest.pth', tmp_path / 'a.pth'):
        (tmp_path / 'last_checkpoint').write_text(str(pointer))
        assert newest_complete_checkpoint(tmp_path)[0] == named


def test_moved_work_dir_is_resumed_from_its_own_files(tmp_path):
    whole = save(tmp_path / 'epoch_1.pth', 10)
    (tmp_path / 'last_checkpoint').write_text('/somewhere/else/epoch_1.pth')
    assert newest_complete_checkpoint(tmp_path)[0] == whole


def test_best_checkpoint_without_optimizer_is_no_candidate(tmp_path):
    torch.save({'state_dict': {}, 'meta': {}}, tmp_path / 'best_map.pth')
    with pytest.raises(RunError, match='holds no checkpoint'):
        newest_complete_checkpoint(tmp_path)


def test_no_complete_checkpoint_names_every_file(tmp_path):
    truncate(save(tmp_path / 'epoch_1.pth', 1))
    truncate(save(tmp_path / 'epoch_2.pth', 2))
    with pytest.raises(RunError, match='no complete checkpoint') as caught:
        newest_complete_checkpoint(tmp_path)
    assert 'epoch_1.pth' in str(caught.value)
    assert 'epoch_2.pth' in str(caught.value)


def test_weights_alone_cannot_be_resumed_from(tmp_path):
    torch.save({'state_dict': {}, 'meta': {'iter': 3}}, tmp_path / 'weights.pth')
    with pytest.raises(RunError, match='--load-from'):
        load_resumable(tmp_path / 'weights.pth')


def test_missing_file_is_a_checkpoint_error(tmp_path):
    with pytest.raises(CheckpointError, match=r'gone\.pth'):
        load_resumable(tmp_path / 'gone.pth')


def test_work_dir_is_in_use_once_a_checkpoint_is_there(tmp_path):
    assert not has_checkpoints(tmp_path / 'missing')
    (tmp_path / '20260101_000000').mkdir()
    (tmp_path / 'config.py').touch()
    assert not has_checkpoints(tmp_path)
    (tmp_path / 'iter_1.pth').touch()
    assert has_checkpoints(tmp_path)
