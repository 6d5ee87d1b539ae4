"""tools/dist_train.sh and dist_test.sh with two processes on the CPU; a stop and a loss fault reach both."""

import signal

import pytest

import mmswin.registry  # noqa: F401


def test_two_processes_train_on_gloo(workplace):
    done = workplace.call(
        'dist_train.sh',
        workplace.detection,
        2,
        '--work-dir',
        'w',
        '--cfg-options',
        'train_cfg.max_epochs=1',
        'train_cfg.val_interval=9',
    )
    assert done.status == 0, done.output
    for text in ('2 x 2 = 4 images', 'CPU, 2 processes', 'SyncBN became BN', 'Epoch(train) [1][2/2]'):
        assert text in done.output
    assert (workplace.directory / 'w' / 'epoch_1.pth').is_file()


@pytest.mark.slow
def test_sigterm_to_the_launcher_saves_and_two_processes_test_and_resume(workplace):
    """The processes share the model until they are stopped, and go on without sharing."""
    train = (
        'dist_train.sh',
        workplace.detection,
        2,
        '--work-dir',
        'w',
        '--cfg-options',
        'train_cfg.max_epochs=9',
        'train_cfg.val_interval=20',
    )
    stopped = workplace.call_until('Epoch(train) [3][1/2]', signal.SIGTERM, *train, 'strategy.type=fsdp')
    assert stopped.status != 0
    for text in (
        'Stopped by SIGTERM after iteration',
        'strategy fsdp: each process keeps its part',
        'by SwinBlock',
        'This process holds 5',
    ):
        assert text in stopped.output, stopped.output
    resumed = workplace.call(*train, 'default_hooks.checkpoint.interval=9', '--resume')
    assert resumed.status == 0, resumed.output
    assert 'resumed after iteration' in resumed.output
    done = workplace.call('dist_test.sh', workplace.detection, 'w/epoch_9.pth', 2, '--work-dir', 'w', '--out', 'p.pkl')
    assert done.status == 0, done.output
    assert 'coco/bbox_mAP' in done.output
    assert (workplace.directory / 'p.pkl').is_file()


@pytest.mark.slow
def test_loss_fault_of_one_process_stops_both(workplace):
    done = workplace.call(
        'dist_train.sh',
        workplace.detection,
        2,
        '--work-dir',
        'w',
        '--cfg-options',
        'optim_wrapper.optimizer.lr=1e30',
        'param_scheduler=[]',
    )
    assert done.status != 0
    assert done.output.count('error: loss is not finite in iteration 2') == 1, done.output
    assert 'process 0:' in done.output


def test_usage_is_said(workplace):
    for script, words in (
        ('dist_train.sh', 'CONFIG GPUS'),
        ('dist_test.sh', 'CONFIG CHECKPOINT GPUS'),
        ('slurm_train.sh', 'PARTITION JOB_NAME CONFIG WORK_DIR'),
        ('slurm_test.sh', 'PARTITION JOB_NAME CONFIG CHECKPOINT'),
    ):
        said = workplace.call(script)
        assert said.status == 2
        assert words in said.output


def test_slurm_scripts_hand_over_to_srun(workplace):
    """With a stand-in for srun that prints its arguments one per line."""
    stand_in = workplace.directory / 'bin' / 'srun'
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stand_in.chmod(0o755)
    said = workplace.call(
        'slurm_train.sh',
        'gpu',
        'job',
        'a config.py',
        'out',
        '--seed',
        1,
        path=stand_in.parent,
        GPUS='4',
        SRUN_ARGS='--signal=TERM@120 --exclusive',
    )
    assert said.status == 0, said.output
    words = said.output.splitlines()
    for word in (
        'gpu',
        '--job-name=job',
        '--gres=gpu:4',
        '--ntasks=4',
        '--ntasks-per-node=4',
        '--signal=TERM@120',
        '--exclusive',
    ):
        assert word in words
    assert words[-7:] == ['a config.py', '--work-dir', 'out', '--launcher', 'slurm', '--seed', '1']


@pytest.mark.slow
def test_bad_input_is_said_once_and_ends_both(workplace):
    done = workplace.call(
        'dist_train.sh',
        workplace.detection,
        2,
        '--work-dir',
        'w',
        '--cfg-options',
        'train_dataloader.dataset.data_root=nowhere',
    )
    assert done.status != 0
    assert done.output.count("error: the data root 'nowhere' does not exist") == 1, done.output
    assert not (workplace.directory / 'w').exists()
