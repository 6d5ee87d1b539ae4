"""mmswin export as a user calls it: a file that ONNX Runtime or OpenVINO runs, with the pictures and values of the model."""

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import models
import numpy as np
import predictors
import pytest

from mmswin.environment.importable import export_folder
from mmswin.inference.program_file import open_program

BACKBONE = dict(depths=(1, 1), num_heads=(1, 2), strides=(4, 2), out_indices=(0, 1))


def retinanet() -> dict[str, Any]:
    model = models.retinanet(**BACKBONE)
    model['neck'] |= dict(in_channels=[8, 16], num_outs=2)
    model['bbox_head']['anchor_generator']['strides'] = [4, 8]
    return predictors.detection(model)


def upernet() -> dict[str, Any]:
    model = models.upernet(**BACKBONE)
    model['decode_head'] |= dict(in_channels=[8, 16], in_index=[0, 1])
    return predictors.segmentation(**model)


@pytest.fixture
def folder(workplace, monkeypatch) -> Path:
    if not (export_folder() / 'onnxruntime').is_dir():
        pytest.skip(f'onnx, onnxruntime, openvino: NOT CHECKED, they are not in {export_folder()} (make peers)')
    monkeypatch.setattr(sys, 'path', [*sys.path, str(export_folder())])
    return workplace.directory


def call(workplace, *words: object) -> list[str]:
    done = workplace.call(*words)
    assert not done.status, done.output
    return done.output.splitlines()


def compare(workplace, program: str, config: str, weights: str) -> None:
    """The pictures and values that a program and the model give for the same folder."""
    options = ('data/val', '--score', '0', '--save-json', '--out')
    call(workplace, 'predict.py', program, *options, 'by_program')
    call(workplace, 'predict.py', config, weights, *options, 'by_model', '--device', 'cpu')
    by_program, by_model = (workplace.directory / name for name in ('by_program', 'by_model'))
    names = sorted(str(path.relative_to(by_model)) for path in by_model.rglob('*') if path.is_file())
    assert names == sorted(str(path.relative_to(by_program)) for path in by_program.rglob('*') if path.is_file())
    assert sum(name.endswith('.jpg') for name in names) == 3
    for name in names:
        if name.endswith('.json'):
            assert_same(*(json.loads((folder / name).read_text()) for folder in (by_program, by_model)))
        else:
            one, other = (cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED) for folder in (by_program, by_model))
            assert np.mean(one != other) < 1e-3, name


def assert_same(one: Any, other: Any) -> None:
    """Of plain values, numbers may differ in what they are rounded to."""
    if isinstance(other, dict):
        assert one.keys() == other.keys()
        one, other = list(one.values()), list(other.values())
    if isinstance(other, list):
        assert len(one) == len(other)
        for pair in zip(one, other):
            assert_same(*pair)
    elif isinstance(other, float):
        assert one == pytest.approx(other, abs=0.02)
    else:
        assert one == other


@pytest.mark.slow
def test_a_detector_for_onnx_runtime(workplace, folder):
    config, weights = predictors.write(folder, retinanet())
    lines = call(workplace, 'export.py', config, weights, 'out/model.onnx', '--images', 'data/val')
    assert [line.split()[0] for line in lines] == ['recording', 'compared', 'written'], lines
    assert [path.name for path in (folder / 'out').iterdir()] == ['model.onnx']
    metadata, _ = open_program(str(folder / 'out' / 'model.onnx'))
    assert (metadata['task'], metadata['classes']) == ('detection', list(predictors.CLASSES))
    assert metadata['proof']['sizes'][-1] == [64, 85] and metadata['proof']['largest_difference']['boxes'] < 1e-2
    compare(workplace, 'out/model.onnx', config, weights)
    before = workplace.files()
    again = workplace.call('export.py', config, weights, 'out/model.onnx')
    assert again.status == 2 and '--overwrite' in again.output and len(again.output.splitlines()) == 1
    assert workplace.files() == before


@pytest.mark.slow
def test_a_segmentation_model_for_openvino(workplace, folder):
    config, weights = predictors.write(folder, upernet())
    lines = call(workplace, 'export.py', config, weights, 'model.xml')
    assert [line.split()[0] for line in lines] == ['recording', 'compared', 'written'], lines
    assert (folder / 'model.bin').is_file() and not (folder / 'model.xml.log').exists()
    compare(workplace, 'model.xml', config, weights)
