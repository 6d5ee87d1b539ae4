"""Nothing in a file from strangers runs, by whichever way into a pickle."""

import functools
import io
import os
import pickle
import subprocess

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from strangers import Calling

from mmswin.errors import UnsafeCheckpointError


def _marking(marker):
    """Objects whose unpickling would write a file, by the routes that are known."""
    order = f'echo ran > {marker}'
    path = str(marker)
    nested = pickle.dumps(Calling(os.system, order), 2)
    return {
        'os.system': Calling(os.system, order),
        'subprocess': Calling(subprocess.check_call, ['touch', path]),
        'open': Calling(open, path, 'w'),
        'eval': Calling(eval, f'open({path!r}, "w")'),
        'exec': Calling(exec, f'open({path!r}, "w")'),
        'getattr chain': Calling(getattr, Calling(__import__, 'os'), 'system'),
        'partial': Calling(functools.partial, os.system, order),
        'torch.load': Calling(torch.load, io.BytesIO(nested)),
        'torch.hub.load': Calling(torch.hub.load, '/nonexistent', 'model', 'local'),
        'storage from bytes': Calling(torch.storage._load_from_bytes, nested),
        'pickle of a pickle': Calling(pickle.loads, nested),
        'rebuild calls': Calling(torch._tensor._rebuild_from_type_v2, os.system, torch.Tensor, (order,), None),
        'rebuild with state': Calling(torch._utils._rebuild_parameter_with_state, torch.zeros(1), False, {}, {'a': 1}),
        'numpy of a file': Calling(np.fromfile, path),
        'numpy dtype of objects': Calling(np.dtype, 'O'),
        'numpy dtype of fields': Calling(np.dtype, 'O,f8'),
        'numpy class': Calling(np.ndarray, (10,), 'O'),
        'numpy load': Calling(np.load, path, None, True),
        'file of a memmap': Calling(np.memmap, path, 'uint8', 'w+', 0, (4,)),
        'log buffer method': Calling(getattr, HistoryBuffer, '__init__'),
        'setattr': Calling(setattr, HistoryBuffer, 'mean', os.system),
        'class state': Calling(HistoryBuffer, state=(None, {'mean': 1})),
        'sparse tensor': torch.sparse_coo_tensor([[10**6]], [1.0], (10**7,), check_invariants=False),
        'meta tensor': torch.zeros(3, device='meta'),
        'whole model': torch.nn.Linear(2, 2),
        'codec': Calling(__import__('_codecs').encode, 'text', 'zip'),
        'lambda-like': Calling(type, 'X', (), {}),
    }


# Those that write the marker when they are unpickled in the ordinary way.
RUNNING = ('os.system', 'subprocess', 'open', 'eval', 'exec', 'pickle of a pickle', 'file of a memmap')


def _save(value, path, container):
    if container == 'plain pickle':
        path.write_bytes(pickle.dumps(value, 2))
    elif container == 'protocol 4':
        torch.save(value, path, pickle_protocol=4)
    else:
        torch.save(value, path, _use_new_zipfile_serialization=container == 'zip')


@pytest.mark.parametrize('container', ['zip', 'legacy', 'plain pickle', 'protocol 4'])
def test_nothing_in_a_file_runs(tmp_path, refuse, container):
    marker = tmp_path / 'marker'
    methods = {name: getattr(HistoryBuffer, name) for name in ('mean', 'min', '__init__')}
    for kind, payload in _marking(marker).items():
        path = tmp_path / 'file.pth'
        _save({'state_dict': {'weight': torch.zeros(2)}, 'meta': {'x': payload}}, path, container)
        message = refuse(path)
        assert not marker.exists(), kind
        if container in ('zip', 'legacy'):
            assert 'which is not among the safe ones, and was not opened' in message, (kind, message)
        if kind in RUNNING:  # the file is as dangerous as it is meant to be
            pickle.loads(path.read_bytes()) if container == 'plain pickle' else torch.load(path, weights_only=False)
            assert marker.exists(), kind
            marker.unlink()
    assert {name: getattr(HistoryBuffer, name) for name in methods} == methods


def test_the_type_is_named(tmp_path, refuse):
    torch.save({'args': Calling(functools.partial, print)}, tmp_path / 'file.pth')
    message = refuse(tmp_path / 'file.pth', UnsafeCheckpointError)
    assert 'needs the type functools.partial, which is not among the safe ones' in message
