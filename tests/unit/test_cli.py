"""The command `mmswin`: what it lists exists, helps on one screen, and refuses what it does not know."""

import argparse
import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config

import mmswin
from mmswin import cli, shipped
from mmswin.cli import complexity, explain, parsing, predict, upgrade

MODULES = {path.stem for path in Path(cli.__file__).parent.glob('*.py')} - {'__init__', 'parsing'}


def test_every_command_is_a_module_and_every_module_a_command():
    assert set(cli.COMMANDS) == MODULES


@pytest.mark.parametrize('name', cli.COMMANDS)
def test_help_fits_a_screen_and_shows_an_example(name, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '120')
    with pytest.raises(SystemExit) as stopped:
        cli.main([name, '--help'])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f'usage: mmswin {name} ')
    assert re.search(rf'^examples?:\n  mmswin {name}\b', text, re.MULTILINE)
    assert text.count('\n') <= 50


@pytest.mark.parametrize(('launcher', 'number'), [('pytorch', '0'), ('slurm', None), ('none', None)])
def test_launchers_number_the_processes_of_a_machine_themselves(launcher, number, monkeypatch):
    """Each would take itself for the first of its machine otherwise, and look at the data and speak."""
    monkeypatch.setattr(os, 'environ', {})
    parsing.run_options(argparse.Namespace(launcher=launcher, local_rank=0))
    assert os.environ.get('LOCAL_RANK') == number


def test_all_commands_are_listed(capsys):
    assert cli.main([]) == 2
    listed = capsys.readouterr().out
    assert all(f'  {name} ' in listed for name in cli.COMMANDS)


@pytest.mark.parametrize('words', [['trian'], ['--colour'], ['configs', 'copy', 'x']])
def test_unknown_words_are_refused(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    assert stopped.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_configs_are_listed_by_pattern(capsys):
    assert cli.main(['configs', 'upernet_swin_t_f']) == 0
    assert capsys.readouterr().out == 'upernet_swin_t_finetune\n'
    assert cli.main(['configs']) == 0
    assert capsys.readouterr().out.split() == shipped.names()
    assert cli.main(['configs', 'nothing']) == 2


def test_a_config_is_copied_once(capsys, tmp_path):
    target = tmp_path / 'mine.py'
    words = ['configs', 'copy', 'mask_rcnn_swin_t_finetune', str(target)]
    assert cli.main(words) == 0
    text = target.read_text()
    assert text == shipped.editable_copy('mask_rcnn_swin_t_finetune')
    target.write_text('mine')
    assert cli.main(words) == 2
    assert target.read_text() == 'mine' and '--overwrite' in capsys.readouterr().err
    assert cli.main([*words, '--overwrite']) == 0
    assert target.read_text() == text
    words[2] = 'mask_rcnn_swin_t_finetun'
    assert cli.main([*words, '--overwrite']) == 2
    assert 'mask_rcnn_swin_t_finetune' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        ([], ('CONFIG', '--out')),
        (['--scores', '0.3'], ('--scores', '(did you mean --score?)')),
        (['--score', '30'], ('--score', "'30'", '0 to 1')),
        (['--score', 'high'], ('--score', "'high'", '0 to 1')),
        (['--tile', '10.5'], ('--tile', "'10.5'", 'whole')),
        (['--batch', '0'], ('--batch', '0', '1')),
        (['--amp', 'int4'], ('--amp', 'int4', 'bf16')),
    ],
)
def test_a_wrong_option_is_one_line_that_names_it(words, said, capsys):
    required = ['mask_rcnn_swin_t_coco', 'weights.pth', 'a.jpg', '--out', 'out'] if words else []
    with pytest.raises(SystemExit) as stopped:
        cli.main(['predict', *required, *words])
    assert stopped.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith('error: ') and line.count('\n') == 1
    assert all(text.lower() in line.lower() for text in said)


def test_words_may_stand_behind_options():
    args = predict.parse_args(['config.py', 'weights.pth', '--out', 'found', 'a.jpg', '--batch', '2', 'b.jpg'])
    assert (args.config, args.checkpoint, args.source) == ('config.py', 'weights.pth', ['a.jpg', 'b.jpg'])
    assert (args.out, args.batch, args.score) == ('found', 2, 0.3)
    assert upgrade.parse_args(['old.py', '--strict', 'new.py']).new == 'new.py'


def test_explain_takes_a_picture_and_no_exported_program(capsys):
    args = explain.parse_args(['config.py', 'weights.pth', '--out', 'why', 'a.jpg'])
    assert (args.checkpoint, args.image) == ('weights.pth', 'a.jpg')
    for words, said in ((['m.onnx', 'a.jpg'], 'm.onnx: exported program'), (['config.py', 'weights.pth'], 'image')):
        with pytest.raises(SystemExit):
            explain.parse_args([*words, '--out', 'why'])
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ('name', 'shape'),
    [
        ('swin_flowers', (64, 64)),
        ('swin_cifar100', (32, 32)),
        ('swin_b_in22k', (800, 1280)),
        ('mask_rcnn_swin_t_coco', (800, 1280)),
    ],
)
def test_complexity_counts_at_the_size_that_a_classifier_is_tested_at(name, shape):
    assert complexity.usual_shape(Config.fromfile(shipped.directory() / f'{name}.py')) == shape


def test_words_too_many_are_named(capsys):
    with pytest.raises(SystemExit):
        cli.main(['train', 'mask_rcnn_swin_t_coco', 'mask_rcnn_swin_s_coco'])
    assert 'mask_rcnn_swin_s_coco' in capsys.readouterr().err


def test_predict_hands_its_options_on_and_ends_a_camera_by_ctrl_c(tmp_path, monkeypatch, capsys):
    from mmswin.inference import Result

    given = []

    class Results:
        total, skipped = None, ()

        def __iter__(self):
            for number in range(2):
                labels = np.array([[0, 1, 1]], np.uint8)
                yield Result(np.zeros((1, 3, 3), np.uint8), str(number), ('a', 'b'), [(9, 9, 9)] * 2, label_map=labels)
            raise KeyboardInterrupt

    def load(*options):
        given.append(options)
        return lambda *options: (given.append(options), Results())[1]

    monkeypatch.setattr(mmswin, 'load', load, raising=False)
    out = str(tmp_path / 'out')
    options = {'out': out, 'device': 'cpu', 'batch': 3, 'tile': 64, 'overlap': 0.4, 'score': 0.6, 'classes': 'b'}
    words = [f'--{name}={value}' for name, value in options.items()]
    assert cli.main(['predict', 'a.py', 'a.pth', '0', '--save-json', *words]) == 130
    assert given == [('a.py', 'a.pth', 'cpu', None, False), (['0'], 3, None, 64, 0.4, 0.6, out)]
    assert '2 pictures' in capsys.readouterr().out
    for number in range(2):
        kept = cv2.imread(f'{out}/labels/{number}.png', cv2.IMREAD_UNCHANGED)
        assert kept.tolist() == [[255, 1, 1]]
