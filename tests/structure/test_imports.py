"""Each layer needs no more than it should: the package Python, ops torch, the backbone mmengine."""

import subprocess
import sys


def _without(blocked, statement):
    """Run a statement in a fresh interpreter in which some packages cannot be imported."""
    code = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {blocked!r}:
            raise ModuleNotFoundError(name + ' is blocked', name=name)
sys.meta_path.insert(0, Block())
{statement}
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_package_itself_needs_nothing():
    _without({'torch', 'numpy', 'mmengine', 'mmcv', 'mmdet', 'mmseg'}, 'import mmswin; assert mmswin.__version__')


def test_ops_need_torch_alone():
    _without(
        {'mmengine', 'mmcv', 'mmdet', 'mmseg'},
        'import torch\n'
        'from mmswin.ops.window_attention import window_attention\n'
        'assert window_attention(torch.zeros(1, 5, 5, 12), None, (4, 4), (2, 2), 2, 1.0).shape == (1, 5, 5, 4)',
    )


def test_the_backbone_needs_mmengine_besides():
    _without(
        {'mmcv', 'mmdet', 'mmseg', 'torchvision'},
        'import torch\n'
        'from mmengine.registry import MODELS\n'
        'model = MODELS.build(dict(type="mmswin.SwinTransformer", depths=(1, 1, 1, 1)))\n'
        'assert len(model(torch.zeros(1, 3, 32, 32))) == 4',
    )


def test_a_missing_library_is_explained():
    _without(
        {'mmengine'},
        'try:\n    import mmswin.registry\n'
        'except ImportError as error:\n    assert "mmswin.registry needs mmengine" in str(error), error\n'
        'else:\n    raise AssertionError("no error")',
    )
