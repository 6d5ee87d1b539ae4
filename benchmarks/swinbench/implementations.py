"""The implementations that are compared: mmswin, and other libraries' Swins with the same weights and the same maps."""

import importlib
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from mmswin.backbones import SwinTransformer
from mmswin.checkpoints import convert, reference_libraries
from mmswin.checkpoints.export import export
from mmswin.environment.importable import make_torchvision_importable
from mmswin.ops.window_attention import BACKENDS
from swinbench.cases import VARIANTS, Case, Network

COMPILED = '+compile'
# Name to the package that it needs; below, what takes part unless something else is asked for.
IMPLEMENTATIONS = {
    'mmdet': 'mmdet',
    'mmswin': 'mmswin',
    **{f'mmswin-{backend}': 'mmswin' for backend in BACKENDS},
    **{library: library for library in ('transformers', 'timm', 'torchvision', 'openvino', 'onnxruntime')},
    'openvino-int8': 'nncf',
}
# mmswin's backbone as a program for others, which is not compiled and has no backward.
PROGRAMS = ('openvino', 'openvino-int8', 'onnxruntime')
USUAL = ('mmdet', 'mmdet+compile', 'mmswin-reference', 'mmswin', 'mmswin+compile', 'transformers', 'timm',
         'torchvision', 'openvino', 'onnxruntime')  # fmt: skip
# Sides of whole models; mmdet stands for mmseg, too.
WHOLE = ('mmdet', 'mmswin', 'onnxruntime', 'openvino', 'openvino-int8')


def missing(name: str) -> str | None:
    """The package that an implementation lacks."""
    package = IMPLEMENTATIONS[name.removesuffix(COMPILED)]
    return package if find_spec(package) is None else None


def compared_at(name: str, case: Case) -> tuple[int, int, int]:
    """The size at which an implementation computes the same function as the baseline; it is timed at the case's own.

    timm shifts before it pads, so it is compared where nothing is padded; timm, torchvision and transformers do not shift
    on maps that are one window, so they are compared where there is none.
    """
    images, height, width = case.size
    unit = 32 * case.window
    library = name.removesuffix(COMPILED)
    if library == 'timm':
        height, width = (max(2, round(side / unit)) * unit for side in (height, width))
    elif library in ('torchvision', 'transformers'):
        height, width = (max(unit + 32, side) for side in (height, width))
    return images, height, width


def randomize(model: nn.Module) -> nn.Module:
    """Give a backbone random weights, always the same, whose biases, norms and tables matter, for maps of order one."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        fan_in = parameter[0].numel() if parameter.dim() > 1 else 1
        spread = 0.5 if name.endswith('bias_table') else fan_in**-0.5 if parameter.dim() > 1 else 0.1
        parameter.data.copy_(float('norm' in name and name.endswith('weight')) + spread * noise)
    return model


def weights_of(case: Case) -> Mapping[str, Tensor]:
    """The weights that all implementations of a case get."""
    if case.model == 'backbone':
        return randomize(ours(case.variant, case.window, 'reference')).state_dict()
    from swinbench import whole

    return whole.weights(case)


def limit_of(case: Case, limit: float) -> float:
    """The error allowed in float32; of a whole model's objects single ones may be others, so that theirs is larger."""
    return limit if case.model == 'backbone' else {'float32': 1e-2, 'bfloat16': 0.2}[case.precision]


def ours(variant: str, window: int, backend: str) -> SwinTransformer:
    kept = dict(with_cp=False) if backend == 'reference' else {}
    return SwinTransformer(arch=VARIANTS[variant], window_size=window, drop_path_rate=0, attn_backend=backend, **kept)


class _Maps(nn.Module):
    """Steps of which those in ``taken`` give the maps, which get norms; with none taken, a backbone of transformers."""

    def __init__(self, steps: Iterable[nn.Module], taken: Sequence[int], weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.steps, self._taken = nn.ModuleList(steps), taken
        self.norms = nn.ModuleList(nn.LayerNorm(weights[f'norm{i}.weight'].shape[0]) for i in range(len(taken)))
        for i, norm in enumerate(self.norms):
            norm.load_state_dict({part: weights[f'norm{i}.{part}'] for part in ('weight', 'bias')})

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """``B x 3 x H x W`` to four maps."""
        if not self._taken:
            return tuple(m.contiguous() for m in self.steps[0](x).feature_maps)
        maps = []
        for i, step in enumerate(self.steps):
            x = step(x)
            if i in self._taken:
                maps.append(self.norms[len(maps)](x).permute(0, 3, 1, 2).contiguous())
        return tuple(maps)


class _OpenVINO:
    """mmswin's backbone as an OpenVINO program for one size, made by ``torch.export``."""

    def __init__(self, model: nn.Module, case: Case, threads: int) -> None:
        import openvino

        image = torch.zeros(case.size[0], 3, *case.size[1:])
        with torch.no_grad():
            program = openvino.convert_model(torch.export.export(model, (image,)))
        asked = {'float32': 'f32', 'bfloat16': 'bf16'}[case.precision]
        settings = {'INFERENCE_PRECISION_HINT': asked, 'INFERENCE_NUM_THREADS': threads, 'NUM_STREAMS': 1,
                    'PERFORMANCE_HINT': 'LATENCY'}  # fmt: skip
        compiled = openvino.Core().compile_model(program, 'CPU', settings)
        given = compiled.get_property('INFERENCE_PRECISION_HINT').get_type_name()
        if given != asked:
            raise NotImplementedError(f'it computes in {given} on this processor')
        self._request = compiled.create_infer_request()

    def __call__(self, image: Tensor) -> list[Tensor]:
        found = self._request.infer([image.numpy()], share_inputs=True, share_outputs=True)
        return [torch.from_numpy(value) for value in found.values()]


class _ONNXRuntime:
    """mmswin's backbone as ``mmswin export`` writes it, for images of any size, in ONNX Runtime."""

    def __init__(self, model: nn.Module, case: Case, threads: int) -> None:
        if case.precision != 'float32':
            raise NotImplementedError('on CPUs it computes in float32')
        from mmswin.export import onnx_file, program
        from mmswin.inference.program_file import open_program

        graph = program.BackboneGraph(model)
        recorded = program.record(graph, torch.zeros(2, 3, 200, 264), graph.dynamic)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, 'backbone.onnx')
            onnx_file.write_onnx(recorded, graph, graph.output_names, graph.dynamic, path)
            onnx_file.write_metadata(path, {'outputs': list(graph.output_names)})
            self._run = open_program(str(path), threads)[1]

    def __call__(self, image: Tensor) -> list[Tensor]:
        return [torch.from_numpy(value) for value in self._run(image.numpy())]


def build(name: str, case: Case, weights: Mapping[str, Tensor], threads: int, file: Path) -> Network:
    """An implementation with the weights of a file, ready for a case. Raises NotImplementedError where it is not for that."""
    if case.model != 'backbone':
        from swinbench import whole

        return whole.network(name, case, weights, threads, file.with_suffix('.onnx'))
    library = name.removesuffix(COMPILED)
    if library in PROGRAMS and case.mode == 'training':
        raise NotImplementedError('it has no backward')
    if library == 'openvino-int8':
        raise NotImplementedError('it is for whole models: --model mask_rcnn or upernet')
    if library in PROGRAMS or IMPLEMENTATIONS[library] == 'mmswin':
        backend = 'reference' if library in PROGRAMS else library.partition('-')[2] or 'auto'
        network: nn.Module = ours(case.variant, case.window, backend)
        network.load_state_dict(weights)
    else:
        network = _other(library, weights)
    if library in PROGRAMS:
        return {'openvino': _OpenVINO, 'onnxruntime': _ONNXRuntime}[library](network.eval(), case, threads)
    network = network.to(case.device)
    return torch.compile(network) if name.endswith(COMPILED) else network


def _other(library: str, weights: Mapping[str, Tensor]) -> nn.Module:
    options = {}
    if library == 'mmdet':
        _import_mmdets_swin()
    elif library == 'timm':  # with images of any size, a shift in every stage, and torch's fused attention
        make_torchvision_importable()
        importlib.import_module('timm.layers').set_fused_attn(True, experimental=True)
        options = dict(strict_img_size=False, always_partition=True)
    written = export(weights, library)
    structure = reference_libraries.structure_of(convert.translate(weights))
    network: Any = reference_libraries.build(library, structure, written.tensors, written.model, **options)
    if library == 'timm':
        return _Maps([network.patch_embed, *network.layers], (1, 2, 3, 4), weights)
    if library == 'torchvision':
        return _Maps(network.features, (1, 3, 5, 7), weights)
    return network if library == 'mmdet' else _Maps([network], (), weights)


def _import_mmdets_swin() -> None:
    """Import the module of mmdet's class, in this process for good, without the packages above it.

    They import every detector, transformers and mmcv's compiled operators: seconds and memory that the class does not
    need, and operators that are missing next to mmcv-lite.
    """
    models = 'mmdet.models'
    for name in ('mmdet', models, f'{models}.backbones', f'{models}.layers', f'{models}.layers.transformer'):
        parent = sys.modules.get(name.rpartition('.')[0])
        found = PathFinder.find_spec(name, parent and parent.__path__)
        _stand_in(name, __path__=list(found.submodule_search_locations))
    names = ('OptConfigType', 'OptMultiConfig', 'ConfigType', 'MultiConfig')
    _stand_in('mmdet.utils', **dict.fromkeys(names, object))
    _stand_in('mmdet.registry', MODELS=SimpleNamespace(register_module=lambda: lambda kind: kind))
    parts = importlib.import_module('mmdet.models.layers.transformer.utils')
    vars(sys.modules['mmdet.models.layers']).update(PatchEmbed=parts.PatchEmbed, PatchMerging=parts.PatchMerging)
    importlib.import_module('mmdet.models.backbones.swin')


def _stand_in(name: str, **attributes: object) -> None:
    sys.modules[name] = ModuleType(name)
    vars(sys.modules[name]).update(attributes)
