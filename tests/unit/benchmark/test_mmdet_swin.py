"""mmdet's class is found also where mmcv has no compiled operators, and nothing stays changed."""

import subprocess
import sys

CODE = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.startswith('mmcv.ops') or name == 'mmcv._ext':
            raise ModuleNotFoundError(name + ' is blocked', name=name)
sys.meta_path.insert(0, Block())
try:
    import mmdet.models
except ImportError:
    pass
else:
    raise AssertionError('nothing was missing')
before = {name: module for name, module in sys.modules.items() if name.startswith('mmdet')}
from mmswin.benchmark.mmdet_swin import swin_class
found = swin_class()
assert found.__module__ == 'mmdet.models.backbones.swin', found.__module__
after = {name: module for name, module in sys.modules.items() if name.startswith('mmdet')}
assert after == before
import torch
maps = found(embed_dims=12, depths=(1, 1, 1, 1), num_heads=(1, 2, 3, 6))(torch.zeros(1, 3, 64, 64))
assert [m.shape[1] for m in maps] == [12, 24, 48, 96]
"""


def test_without_compiled_operators():
    done = subprocess.run([sys.executable, '-c', CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
