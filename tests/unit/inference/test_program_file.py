"""Files that are no program of mmswin are refused; programs are read by another test, of tests/unit/export."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmswin.inference import program_file
from mmswin.inference.program_file import open_program


class Double(torch.nn.Module):
    def forward(self, image):
        return (image * 2,)


@pytest.fixture(scope='module')
def program():
    return torch.export.export(Double(), (torch.ones(2, 3),))


def test_a_program_of_torch_is_run(program, tmp_path):
    path = str(tmp_path / 'model.pt2')
    torch.export.save(program, path, extra_files={'mmswin.json': '{"outputs": ["double"]}'})
    metadata, run = open_program(path)
    assert metadata == {'outputs': ['double']}
    np.testing.assert_array_equal(run(np.full((2, 3), 3, np.float32))[0], np.full((2, 3), 6))


@pytest.mark.parametrize('text', ['', '[]', '{"outputs": 1}'])
def test_a_program_of_another_exporter_is_refused(program, tmp_path, text):
    path = str(tmp_path / 'model.pt2')
    torch.export.save(program, path, extra_files={'mmswin.json': text} if text else None)
    with pytest.raises(ValueError, match='no metadata of mmswin'):
        open_program(path)


def test_nothing_of_mmswin_can_be_imported_where_it_is_proved(program, tmp_path, monkeypatch):
    path, inputs, outputs = (str(tmp_path / name) for name in ('model.pt2', 'inputs.npz', 'outputs.npz'))
    torch.export.save(program, path, extra_files={'mmswin.json': '{"outputs": ["double"]}'})
    np.savez(inputs, **{'0': np.ones((2, 3), np.float32)})
    modules: dict = {}
    monkeypatch.setattr(program_file, 'sys', SimpleNamespace(modules=modules))
    program_file.main(path, inputs, outputs)
    assert modules == dict.fromkeys(program_file.ABSENT)
    with np.load(outputs) as found:
        assert found.files == ['0.double'] and (found['0.double'] == 2).all()
