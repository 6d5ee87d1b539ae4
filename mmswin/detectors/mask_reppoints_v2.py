"""Mask RepPoints V2: mmdet's CondInst, into which the released checkpoint loads."""

from typing import Any

from mmdet.models import CondInst
from torch import Tensor

from mmswin.checkpoints.formats import REPPOINTS_V2_MASKS, REPPOINTS_V2_UNUSED
from mmswin.checkpoints.naming import rename_below
from mmswin.registry import MODELS


@MODELS.register_module()
class MaskRepPointsV2(CondInst):
    """A detector whose box head gives each object the weights of its mask convolutions, as the authors of Swin released it.

    Args:
        args: As for mmdet's ``CondInst``.
        kwargs: The same.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._register_load_state_dict_pre_hook(_from_authors)


def _from_authors(state_dict: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Take the authors' names too, where the mask head is a part of the box head."""
    rename_below(state_dict, prefix, REPPOINTS_V2_MASKS)
    for name in REPPOINTS_V2_UNUSED:
        state_dict.pop(prefix + name, None)
