"""Whether a written program gives what the model gives: run in a process without mmswin, compared with the model's own way."""

import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mmswin.errors import RunError, printable
from mmswin.inference import program_file
from mmswin.inference.exported_backend import instances, prepare
from mmswin.inference.results import Instances, Mask
from mmswin.inference.torch_backend import instances_of

# The largest difference of a program in float32, by what its outputs are. Maps and logits: of the largest value; labels
# and masks: the part of pixels that differ; boxes: pixels; objects: the part that only one of the two finds, because of two
# boxes whose overlap is the threshold of suppression but for rounding.
LIMITS = {'maps': 1e-4, 'logits': 1e-4, 'labels': 1e-3, 'objects': 1e-2, 'boxes': 1e-2, 'scores': 1e-4, 'masks': 1e-2}
# Pixels from which on two boxes are not the same object's.
APART = 1
# What test_step takes besides a picture.
_SAMPLES = {
    'classification': ('mmpretrain.structures', 'DataSample'),
    'detection': ('mmdet.structures', 'DetDataSample'),
    'segmentation': ('mmseg.structures', 'SegDataSample'),
}
# Height and width of the pictures that programs are compared on: below, at and between multiples of windows and patches.
SIZES = ((33, 47), (160, 224), (131, 190), (224, 96))


def pictures(sizes: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """Smooth random pictures, ``H x W x 3`` uint8, always the same."""
    import cv2

    generator = np.random.default_rng(0)
    made = []
    for height, width in sizes:
        coarse = generator.integers(0, 256, (height // 16 + 2, width // 16 + 2, 3), np.uint8)
        made.append(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    return made


def of_model(model: nn.Module, task: str, image: np.ndarray, preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    """What the model itself says of one picture: its ``test_step``, or the backbone's maps.

    Returns:
        ``found``, :class:`Instances`, for detection; else arrays by the names of the outputs.
    """
    size = image.shape[:2]
    with torch.no_grad():
        if task == 'backbone':
            tensor = torch.from_numpy(prepare(image, {**preprocessing, 'inside': False}))
            return {f'map{i}': found.numpy() for i, found in enumerate(model.backbone(tensor))}
        module, kind = _SAMPLES[task]
        sample = getattr(importlib.import_module(module), kind)(
            metainfo=dict(img_shape=size, ori_shape=size, pad_shape=size, scale_factor=(1.0, 1.0), img_id=0)
        )
        inputs = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        (found,) = model.test_step({'inputs': [inputs], 'data_samples': [sample]})
    if task == 'classification':
        return {'scores': found.pred_score.numpy()}
    if task == 'segmentation':
        logits = found.seg_logits.data
        return {'logits': logits.numpy(), 'labels': found.pred_sem_seg.data[0].numpy()}
    return {'found': instances_of(found.pred_instances)}


def run_elsewhere(path: Path, images: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
    """The outputs of a program for each image, from a process in which nothing of mmswin or OpenMMLab can be imported.

    Raises:
        RunError: It does not run there; the message has the words of the library.
    """
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = Path(folder, 'inputs.npz'), Path(folder, 'outputs.npz')
        np.savez(inputs, **{str(number): image for number, image in enumerate(images)})
        command = [sys.executable, str(Path(program_file.__file__)), str(path), str(inputs), str(outputs)]
        # Libraries that stand next to the environment are found there, too.
        environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment)
        if done.returncode:
            last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
            raise RunError(f'the program does not run in a process of its own: {printable("".join(last))}')
        with np.load(outputs) as archive:
            found: list[dict[str, np.ndarray]] = [{} for _ in images]
            for key in archive.files:
                number, _, name = key.partition('.')
                found[int(number)][name] = archive[key]
    return found


def differences(expected: Mapping[str, Any], found: Mapping[str, np.ndarray], facts: Mapping[str, Any],
                size: tuple[int, int]) -> dict[str, float]:  # fmt: skip
    """The largest difference of a program's outputs for one picture, by the names of :data:`LIMITS`.

    Args:
        expected: See :func:`of_model`.
        found: The program's.
        facts: Of the graph.
        size: Of the picture.

    Raises:
        RunError: An output has another shape.
    """
    if 'found' in expected:
        return _of_instances(expected['found'], instances(found, size, size, facts.get('mask_threshold')), facts)
    worst: dict[str, float] = {}
    for name, value in found.items():
        if name == 'logits' and expected['logits'].shape[0] == 1:  # a probability
            name, value = 'labels', value.argmax(1)
        if name == 'labels':
            worst['labels'] = float(np.mean(value[0] != expected['labels']))
            continue
        wanted = expected[name][None] if name in ('logits', 'scores') else expected[name]
        kind = name.rstrip('0123456789').replace('map', 'maps')
        if wanted.shape != value.shape:
            raise RunError(f'{name} of an image of {size} is {value.shape}, not {wanted.shape}. Nothing was written')
        worst[kind] = max(worst.get(kind, 0.0), _relative(wanted, value))
    return worst


def _relative(expected: np.ndarray, found: np.ndarray) -> float:
    if not np.isfinite(found).all():
        return float('inf')
    return float(np.abs(expected - found).max() / max(np.abs(expected).max(), np.finfo(np.float32).tiny))


def _of_instances(expected: Instances, found: Instances, facts: Mapping[str, Any]) -> dict[str, float]:
    """Each object's difference from the nearest of its class; one that is on the edge of being left out may be missing."""
    worst = dict.fromkeys(('objects', 'boxes', 'scores', *(['masks'] if expected.masks is not None else [])), 0.0)
    for name in ('boxes', 'scores'):
        if not np.isfinite(getattr(found, name)).all():
            return {**worst, name: float('inf')}
    union = apart = missing = 0
    left = set(range(len(found)))
    edges = [float(facts.get('score_threshold', 0))]
    edges += [
        float(one.scores[-1]) for one in (expected, found) if len(one) and len(one) >= facts.get('max_per_image', 1e9)
    ]

    def on_edge(score: float) -> bool:
        return min(abs(score - edge) for edge in edges) < LIMITS['scores']

    for i in range(len(expected)):
        near = [j for j in left if found.labels[j] == expected.labels[i]]
        away = [float(np.abs(found.boxes[j] - expected.boxes[i]).max()) for j in near]
        if not near or min(away) > APART:
            missing += not on_edge(float(expected.scores[i]))
            continue
        j = near[int(np.argmin(away))]
        left.remove(j)
        worst['boxes'] = max(worst['boxes'], min(away))
        worst['scores'] = max(worst['scores'], abs(float(found.scores[j] - expected.scores[i])))
        if expected.masks is not None:
            pair = [expected.masks[i], found.masks[j]]
            either = int(Mask.union(pair).pixels.sum())
            # Of either but not of both: twice the union less the two.
            union, apart = union + either, apart + 2 * either - sum(int(mask.pixels.sum()) for mask in pair)
    more = sum(not on_edge(float(found.scores[j])) for j in left)
    worst['objects'] = max(missing, more) / max(len(expected), len(found), 1)
    if expected.masks is not None:
        worst['masks'] = apart / max(union, 1)
    return worst
