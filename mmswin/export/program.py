"""Models as one recorded program for images of every size: what a graph is, that of a backbone, and torch.export itself."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mmswin.errors import RunError, plain_message, printable
from mmswin.ops.window_attention import BACKENDS

# The name of what a program takes.
INPUT = 'image'


class Graph(nn.Module):
    """A module made of operators that exporters know, whose one input is :data:`INPUT`.

    Attributes:
        output_names: A name for each tensor that it returns.
        dynamic: Axes of the image whose sizes vary, and their names.
        facts: What a user of the outputs must know (thresholds and the like), plain values for the file's metadata.
    """

    output_names: tuple[str, ...]
    dynamic = {0: 'batch', 2: 'height', 3: 'width'}
    facts: dict[str, Any] = {}

    def features(self, image: Tensor) -> tuple[Tensor, ...]:
        """``B x 3 x H x W``, normalised and padded, to maps of backbone and neck."""
        raise NotImplementedError

    def heads(self, features: Sequence[Tensor], size: tuple[int, int]) -> tuple[Tensor, ...]:
        """The maps to the outputs; ``size`` is (height, width) of the image before padding."""
        raise NotImplementedError

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """``B x 3 x H x W``, normalised, to the outputs."""
        return self.heads(self.features(image), image.shape[2:])

    def onnx_operators(self) -> dict:
        """Translations for operators of its own, as ``torch.onnx.export`` takes them."""
        return {}


class BackboneGraph(Graph):
    """A backbone's maps, ``map0`` to ``mapN`` in the order of its ``out_indices``; any number of images."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.output_names = tuple(f'map{i}' for i in range(len(backbone.out_indices)))

    def features(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.backbone(image))

    def heads(self, features: Sequence[Tensor], size: tuple[int, int]) -> tuple[Tensor, ...]:
        return tuple(features)


def shared_copy(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose parts may be replaced; weights and buffers are the model's own."""
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors}).eval()


def record(graph: nn.Module, example: Tensor, dynamic: dict[int, str]) -> torch.export.ExportedProgram:
    """Record a graph as one program, with torch.export.

    Args:
        graph: In evaluation mode, of one input.
        example: Its input; sides that differ from each other at every stage, and a batch of more than one if that varies.
        dynamic: The axes of the input whose sizes vary.

    Raises:
        RunError: torch.export cannot record it; the message has its words.
    """
    shapes = dict.fromkeys(dynamic, torch.export.Dim.AUTO)
    try:
        with torch.no_grad(), _sizes_are_symbols(), _reference_attention(graph):
            return torch.export.export(graph.eval(), (example,), dynamic_shapes=(shapes,))
    except Exception as error:  # of whatever class, it is the exporter's
        raise failure('torch.export', torch.__version__, error) from error


@contextmanager
def _sizes_are_symbols() -> Iterator[None]:
    """Have torch not ask whether a side of the example is 1, which would make the program one for larger images.

    The names are private ones of torch (torch.onnx uses the first, too); where one is missing, small images may be refused.
    """
    import torch._dynamo.config as cache  # remembers results of operators, and compares their sizes with 1
    import torch.fx.experimental._config as sizes

    with ExitStack() as stack:
        for config, name, value in (
            (sizes, 'backed_size_oblivious', True),
            (cache, 'fake_tensor_cache_enabled', False),
        ):
            if hasattr(config, name):
                stack.enter_context(config.patch(**{name: value}))
        yield


@contextmanager
def _reference_attention(graph: nn.Module) -> Iterator[None]:
    """Have attention written out, whatever its backend: kernels are for one device, and fused ones for fixed sizes."""
    with ExitStack() as stack:
        for part in graph.modules():
            if callable(vars(part).get('attend')):
                stack.callback(setattr, part, 'attend', part.attend)
                part.attend = BACKENDS['reference']
        yield


def as_in(part: object, kind: type, *methods: str) -> None:
    """Refuse what predicts otherwise than the class whose ways a graph has.

    Raises:
        RunError: A part is none of that class, or has its own of one of the methods.
    """
    if not isinstance(part, kind) or any(getattr(type(part), name) is not getattr(kind, name) for name in methods):
        raise RunError(
            f'{type(part).__name__} cannot be exported: it predicts in its own way, and export knows that of '
            f'{kind.__name__} (and of what inherits it) in this place'
        )


def failure(what: str, version: str, error: BaseException) -> RunError:
    """What to say where a library failed at its own work."""
    lines = [line.strip() for line in plain_message(error).splitlines() if line.strip()]
    words = printable(' '.join(lines[:2]) or type(error).__name__)
    return RunError(
        f'{what} {version} failed: {type(error).__name__}: {words}. To report it, send this line, the configuration and '
        'the output of `mmswin doctor`'
    )
