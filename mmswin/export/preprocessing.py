"""What is done with a picture before the network: read from the configuration, put into the program, or only noted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor, nn

from mmswin.data.config_facts import short_name
from mmswin.errors import RunError
from mmswin.inference.torch_backend import pipeline_at_test

_NOT_NEEDED = ('LoadImageFromFile', 'LoadAnnotations', 'PackDetInputs', 'PackSegInputs', 'PackInputs')
_PREPROCESSORS = (
    'ClsDataPreprocessor', 'DetDataPreprocessor', 'SegDataPreProcessor', 'ImgDataPreprocessor', 'BaseDataPreprocessor',
)  # fmt: skip
_HOW, _RESIZE, _SHORT = ('interpolation', 'backend'), {'scale', 'keep_ratio'}, ('short', None)


@dataclass
class Preprocessing:
    """What is done with a picture.

    Attributes:
        inside: Whether the program takes pictures as they are decoded, ``B x H x W x 3`` uint8 in BGR, and does all of
            this but the resizing; else it takes ``B x 3 x H x W`` float32, and of this it does the padding alone.
        to_rgb: Whether the order of channels is turned round.
        mean: Subtracted from each channel, in the order that the network sees.
        std: What the channels are divided by then.
        pad_divisor: Sides are filled up at the bottom and the right to multiples of it.
        pad_value: With what.
        scale: (width, height) to which a picture is resized first; None leaves it as it is.
        keep_ratio: Whether ``scale`` is the largest size with the sides' ratio kept, in either orientation.
        short_side: To which the shorter side is resized instead, with the sides' ratio kept.
        crop: (width, height) of the middle that is taken then.
        interpolation: Of resizing, in mmcv's words.
        backend: What resizes, ``'cv2'`` or ``'pillow'``.
    """

    inside: bool = True
    to_rgb: bool = False
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    pad_divisor: int = 1
    pad_value: float = 0.0
    scale: tuple[int, int] | None = None
    keep_ratio: bool = True
    short_side: int | None = None
    crop: tuple[int, int] | None = None
    interpolation: str = 'bilinear'
    backend: str = 'cv2'


def read_config(cfg: Config, inside: bool) -> Preprocessing:
    """What a configuration does with a picture before the network.

    Raises:
        RunError: Its test pipeline or data_preprocessor does something that a program does not do.
    """
    given = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
    if 'type' in given and short_name(given['type']) not in _PREPROCESSORS:
        raise RunError(
            f'data_preprocessor is of type {given["type"]!r}: what is exported has {", ".join(_PREPROCESSORS)}'
        )
    at_test = given.get('test_cfg') or {}
    if at_test.get('size') is not None:
        raise RunError(f'data_preprocessor.test_cfg.size={at_test["size"]}: export pads by size_divisor alone')
    divisor = given.get('pad_size_divisor') or at_test.get('size_divisor') or 1
    return Preprocessing(
        inside,
        any(map(given.get, ('to_rgb', 'bgr_to_rgb', 'rgb_to_bgr'))),
        tuple(map(float, given.get('mean') or (0.0,) * 3)),
        tuple(map(float, given.get('std') or (1.0,) * 3)),
        int(divisor),
        float(given.get('pad_value', given.get('pad_val', 0))),
        **_steps(cfg),
    )


def _steps(cfg: Config) -> dict[str, Any]:
    """What the test pipeline does with a picture's size, as arguments of :class:`Preprocessing`."""
    found: dict[str, Any] = {}
    for step in pipeline_at_test(cfg):
        given = {key: value for key, value in step.items() if key not in ('type', '_scope_')}
        name, how = short_name(step.get('type')), {key: given.pop(key) for key in _HOW if key in given}
        if name == 'Resize':
            given.pop('clip_object_border', None)  # of boxes alone
            if given.get('scale_factor', 0) is None:
                del given['scale_factor']
            if isinstance(given.get('scale'), int):
                given['scale'] = (given['scale'],) * 2
        if name == 'Resize' and not found and isinstance(given.get('scale'), Sequence) and set(given) <= _RESIZE:
            width, height = given['scale']
            found = {'scale': (int(width), int(height)), 'keep_ratio': bool(given.get('keep_ratio', False)), **how}
        elif name == 'ResizeEdge' and not found and set(given) <= {'scale', 'edge'} and given.get('edge') in _SHORT:
            found = {'short_side': int(given['scale']), **how}
        elif name == 'CenterCrop' and 'crop' not in found and set(given) == {'crop_size'} and not how:
            size = given['crop_size']
            width, height = (size, size) if isinstance(size, int) else size
            found['crop'] = int(width), int(height)
        elif name not in _NOT_NEEDED:
            raise RunError(
                f'the test pipeline has {dict(step)}: an exported program is for LoadImageFromFile, one Resize with a '
                'scale (or ResizeEdge of the short edge), CenterCrop, annotations and packing'
            )
    return found


class Deployed(nn.Module):
    """A graph with its preprocessing, as it is written into a file.

    Args:
        network: A graph.
        preprocessing: What is done with a picture before.
        with_features: Also give the maps of backbone and neck, after the outputs, as ``feature0`` and so on.
    """

    def __init__(self, network: nn.Module, preprocessing: Preprocessing, with_features: int = 0) -> None:
        super().__init__()
        self.network, self.preprocessing, self.with_features = network, preprocessing, with_features
        shape = (1, -1, 1, 1)
        self.register_buffer('mean', torch.tensor(preprocessing.mean).view(shape), persistent=False)
        self.register_buffer('std', torch.tensor(preprocessing.std).view(shape), persistent=False)

    @property
    def output_names(self) -> tuple[str, ...]:
        return (*self.network.output_names, *(f'feature{i}' for i in range(self.with_features)))

    @property
    def dynamic(self) -> dict[int, str]:
        """The axes of the image that vary."""
        inside = self.preprocessing.inside
        return {axis - 1 if axis and inside else axis: name for axis, name in self.network.dynamic.items()}

    def onnx_operators(self) -> dict:
        return self.network.onnx_operators()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """``B x H x W x 3`` uint8 in BGR, or ``B x 3 x H x W`` float32, to the graph's outputs."""
        if self.preprocessing.inside:
            image = image.permute(0, 3, 1, 2).to(self.mean.dtype)
            image = image.flip(1) if self.preprocessing.to_rgb else image
            image = (image - self.mean) / self.std
        height, width = image.shape[2:]
        features = self.network.features(self._pad(image))
        outputs = tuple(self.network.heads(features, (height, width)))
        return (*outputs, *features) if self.with_features else outputs

    def _pad(self, image: Tensor) -> Tensor:
        divisor, sides = self.preprocessing.pad_divisor, image.shape[2:]
        if divisor == 1:
            return image
        bottom, right = ((side + divisor - 1) // divisor * divisor - side for side in sides)
        return F.pad(image, (0, right, 0, bottom), value=self.preprocessing.pad_value)
