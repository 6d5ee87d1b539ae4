"""Export to a file: what is refused before any work, what is not written on a difference, and the file's metadata."""

import errno
import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from predictors import detection, segmentation, write

import mmswin
from mmswin.errors import RunError, SavingError
from mmswin.export import comparison, files
from mmswin.export.files import Request, export_file
from mmswin.export.preprocessing import Preprocessing
from mmswin.inference.program_file import open_program


@pytest.fixture
def here(monkeypatch):
    """Run programs in this process: that they run in others is for tests/e2e."""

    def run(path, images):
        metadata, run = open_program(str(path), threads=1)
        return [dict(zip(metadata['outputs'], run(image))) for image in images]

    monkeypatch.setattr(comparison, 'run_elsewhere', run)
    monkeypatch.setattr(comparison, 'SIZES', ((33, 47), (40, 56)))


@pytest.mark.parametrize(('options', 'said'), [
    (dict(out='model.engine'), '.onnx'),
    (dict(out='model.onnx', precision='int8', images='.'), '.xml'),
    (dict(out='model.xml', precision='bf16'), '--images'),
    (dict(out='model.pt2', precision='fp8'), 'fp8'),
    (dict(out='model.pt2', static=(0, 32)), '--static'),
    (dict(out='model.xml', max_loss=2.0), '--max-loss'),
    (dict(out='taken.pt2'), 'exists'),
    (dict(out='file/model.pt2'), 'cannot be written'),
])  # fmt: skip
def test_wrong_requests_are_refused_before_any_work(tmp_path, monkeypatch, options, said):
    (tmp_path / 'taken.pt2').touch()
    (tmp_path / 'file').touch()
    monkeypatch.setattr(files, 'require', lambda *libraries: None)
    request = Request(**{**options, 'out': str(tmp_path / options['out'])})
    with pytest.raises(RunError, match=said):
        export_file('none.py', 'none.pth', request)


def test_a_segmentation_model_as_a_file_of_torch(tmp_path, here):
    config, weights = write(tmp_path, segmentation())
    out, lines = tmp_path / 'new' / 'model.pt2', []
    metadata = export_file(config, weights, Request(out, labels=True), say=lines.append)
    assert sorted(path.name for path in out.parent.iterdir()) == ['model.pt2']
    assert metadata['checkpoint']['sha256'] == hashlib.sha256(Path(weights).read_bytes()).hexdigest()
    assert (metadata['task'], metadata['classes'][0], metadata['static']) == ('segmentation', 'ground', None)
    assert metadata['proof']['batch'] == 3 and metadata['proof']['largest_difference']['labels'] < 1e-3
    assert json.loads(json.dumps(open_program(str(out))[0])) == json.loads(json.dumps(metadata))
    picture = comparison.pictures([(50, 70)])[0]
    ((mine,), (theirs,)) = (mmswin.load(*given)(picture) for given in ((str(out),), (config, weights, 'cpu')))
    assert (mine.label_map == theirs.label_map).mean() > 0.999
    before = out.read_bytes()
    with pytest.raises(RunError, match='--overwrite'):
        export_file(config, weights, Request(out))
    assert out.read_bytes() == before


def test_a_backbone_takes_any_size_whatever_its_detector_pads_to(tmp_path, here):
    config = detection()
    config['model']['data_preprocessor'] = dict(config['model']['data_preprocessor'], pad_size_divisor=32)
    config, weights = write(tmp_path, config)
    out = tmp_path / 'backbone.pt2'
    metadata = export_file(config, weights, Request(out, backbone=True), say=lambda _: None)
    assert metadata['preprocessing']['pad_divisor'] == 1 and metadata['proof']['largest_difference']['maps'] < 1e-4
    maps = open_program(str(out))[1](np.zeros((1, 3, 33, 47), np.float32))
    assert maps[0].shape[2:] == (5, 6)  # stride 8


def test_nothing_is_written_on_a_difference(tmp_path, here, monkeypatch):
    config, weights = write(tmp_path, segmentation())
    monkeypatch.setattr(
        comparison, 'run_elsewhere', lambda path, images: [{'map0': np.ones((1, 8, 9, 12), np.float32)}] * 3
    )
    monkeypatch.setattr(files, '_save_torch', lambda program, path, metadata: path.touch())
    monkeypatch.setattr(files, 'record', lambda *_: None)
    monkeypatch.setattr(comparison, 'SIZES', ((33, 47), (33, 47)))
    with pytest.raises(RunError, match='does not give what the model gives'):
        export_file(
            config, weights, Request(tmp_path / 'model.pt2', backbone=True, static=(33, 47)), say=lambda _: None
        )
    assert not (tmp_path / 'model.pt2').exists()


def test_a_suffix_in_capitals_is_the_suffix():
    assert [Request(f'a.B{suffix}').out.name for suffix in ('.ONNX', '.Xml', '.pt2', '')] == [
        'a.B.onnx',
        'a.B.xml',
        'a.B.pt2',
        'a.B',
    ]


def test_less_precision_that_costs_too_much_is_refused(tmp_path, monkeypatch):
    from mmswin.export import accuracy, openvino_file

    monkeypatch.setattr(files, 'require', lambda *libraries: None)
    monkeypatch.setattr(files.shutil, 'copy', lambda path, target: None)
    monkeypatch.setattr(openvino_file, 'write', lambda model, path, metadata: None)
    request = Request(tmp_path / 'model.xml', precision='bf16', images=str(tmp_path))
    graph = SimpleNamespace(output_names=('logits',), facts={})
    writing = files._Writing(request, 'segmentation', graph, Preprocessing(), tmp_path)
    writing._save = lambda path, metadata: None
    for values, annotated, limit in (([50, 48.9], True, 1), ([100, 94.9], False, 5)):
        found = accuracy.Measured('mIoU', values, 'annotations', annotated, 10)
        monkeypatch.setattr(accuracy, 'measure', lambda *_, found=found: found)
        request.max_loss = None
        with pytest.raises(RunError, match=f'{limit} are allowed'):
            writing.reduce(None, lambda _: None)
        request.max_loss = limit + 1
        writing.reduce(None, lambda _: None)
        assert writing.metadata['accuracy']['bf16'] == values[1]
        assert writing.metadata['precision'] == 'bf16'


def test_pictures_of_yours_are_compared_at_a_static_size_too(tmp_path, monkeypatch):
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((20, 90, 3), 77, np.uint8))
    request = Request(tmp_path / 'model.onnx', static=(33, 47), images=str(tmp_path))
    graph = SimpleNamespace(output_names=('logits',), facts={})
    writing = files._Writing(request, 'segmentation', graph, Preprocessing(), tmp_path)
    writing.metadata['reading'], writing._dynamic, writing._save = {}, (), lambda path, metadata: None
    seen = []
    monkeypatch.setattr(comparison, 'of_model', lambda model, task, image, given: seen.append(image) or {})
    monkeypatch.setattr(comparison, 'run_elsewhere', lambda path, inputs: [{} for _ in inputs])
    writing.prove(None, lambda _: None)
    assert {image.shape for image in seen} == {(33, 47, 3)} and (seen[-1] == 77).all()


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    from mmswin.inference.torch_backend import TorchBackend

    def write(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    backend = SimpleNamespace(cfg=Config(detection()), model=None, classes=(), palette=None, reading={})
    monkeypatch.setattr(TorchBackend, 'load', lambda *_: backend)
    monkeypatch.setattr(files, 'graph_of', lambda *_: ('detection', SimpleNamespace(output_names=(), facts={})))
    monkeypatch.setattr(files._Writing, 'write', write)
    with pytest.raises(SavingError, match='TMPDIR'):
        export_file('config.py', 'weights.pth', Request(tmp_path / 'model.pt2'))


def test_labels_are_of_segmentation_alone(tmp_path):
    with pytest.raises(RunError, match='--labels'):
        files.graph_of(SimpleNamespace(), Request(tmp_path / 'model.onnx', labels=True))


def test_what_cannot_be_exported_is_named(tmp_path):
    config, weights = write(tmp_path, detection())
    with pytest.raises(RunError, match=r'model\.pt2.*\.onnx'):
        export_file(config, weights, Request(tmp_path / 'model.pt2'), say=lambda _: None)
    assert not (tmp_path / 'model.pt2').exists()
