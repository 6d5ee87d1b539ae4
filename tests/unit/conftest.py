"""What unit tests share."""

import pytest
from mmengine.registry import DefaultScope


@pytest.fixture
def mmdet_scope():
    """Parts of mmdet are called as its own configurations call them, whatever scope an earlier run has left."""
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield
