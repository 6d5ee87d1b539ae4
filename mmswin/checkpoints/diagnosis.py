"""What weights are when they are no Swin that can be loaded, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mmswin.checkpoints.formats import HEADS, OTHER_NETWORKS, OTHER_SWINS

# An optimizer's own state dict.
_OPTIMIZER = {'state', 'param_groups'}


def _first(names: Iterable[str], signatures: Iterable[tuple[str, tuple[str, ...]]]) -> str | None:
    names = list(names)
    for words, fragments in signatures:
        if all(any(fragment in name for name in names) for fragment in fragments):
            return words
    return None


def other_swin(tensors: Mapping[str, Tensor], patch: Tensor) -> str | None:
    """What relative of Swin the tensors are, whose patch projection is ``patch``; None if they are a Swin."""
    if patch.dim() == 5:
        return 'a Video Swin, which works on clips and not on images'
    return _first(tensors, OTHER_SWINS)


def foreign_network(names: Iterable[str]) -> str | None:
    """What other network the names belong to; None if no signature fits."""
    return _first(names, (*OTHER_SWINS, *OTHER_NETWORKS))


def no_swin(names: Iterable[str]) -> str:
    """Why there is no Swin among the names, as the end of a sentence that begins with the file."""
    names = [str(name) for name in names]
    if not names:
        return 'is empty: there is no tensor in it'
    network = foreign_network(names)
    if network:
        return f'the weights are {network}, not a Swin backbone of a known format'
    parts = list(dict.fromkeys(name.removeprefix('module.').split('.')[0] for name in names))
    if all(part in HEADS for part in parts):
        shown = ', '.join(parts[:4]) + (', ...' if len(parts) > 4 else '')
        return f'the weights are the parts beside a backbone ({shown}) without the backbone itself'
    if any('flat_param' in name for name in names):
        return (
            'the weights are flattened shards of FSDP; gather them before saving: FSDP.state_dict_type(model, '
            'StateDictType.FULL_STATE_DICT)'
        )
    return f'the weights are no Swin backbone of a known format ({len(names)} entries, the first is {names[0]!r})'


def no_weights(checkpoint: Mapping[str, Any]) -> str:
    """Why a file's dictionary holds no tensors of a network, as the end of a sentence that begins with the file."""
    if not checkpoint:
        return 'is an empty dictionary: whatever wrote it had nothing to save'
    keys = [str(key) for key in checkpoint]
    if set(keys) >= _OPTIMIZER or any(key.startswith('optimizer') for key in keys):
        return f'holds the state of an optimizer and no weights ({", ".join(keys[:5])}): give the file with the weights'
    return f"holds no tensors ({', '.join(keys[:5])}): give a file with a network's weights"


def folder(path: Path) -> str:
    """What a folder is that was given in place of a file, as the end of a sentence that begins with the folder."""
    names = [entry.name for entry in path.iterdir()]
    nested = [entry.name for child in path.iterdir() if child.is_dir() for entry in child.iterdir()]
    if any(name == 'zero_to_fp32.py' or name.endswith('_optim_states.pt') for name in (*names, *nested)):
        return (
            'is a folder of DeepSpeed (ZeRO shards), which cannot be read as it is; put it together first: python '
            f'{path}/zero_to_fp32.py {path} DST'
        )
    if '.metadata' in names:
        return (
            'is a folder of torch.distributed.checkpoint, which cannot be read as it is; put it together first: python '
            f'-m torch.distributed.checkpoint.format_utils dcp_to_torch {path} FILE.pth'
        )
    for name in ('model.safetensors', 'pytorch_model.bin'):
        if name in names:
            return f'is a folder; name the file in it: {path / name}'
    return 'is a directory; give the path or URL of a .pth or .safetensors file'
