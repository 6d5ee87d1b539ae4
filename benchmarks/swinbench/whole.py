"""Whole models: Mask R-CNN and UPerNet as mmdet and mmseg have them, with mmswin's backbone, and as exported programs."""

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from mmengine.model import revert_sync_batchnorm
from torch import Tensor, nn

from mmswin.checkpoints.export import export
from mmswin.engine.configure import load_config
from mmswin.engine.precision import mixed_precision
from mmswin.engine.preflight import build_model
from mmswin.environment.importable import make_torchvision_importable
from mmswin.export import onnx_file
from mmswin.export.files import EXAMPLE, Request, graph_of
from mmswin.export.preprocessing import Deployed, Preprocessing
from mmswin.export.program import record
from mmswin.inference.exported_backend import instances
from mmswin.inference.program_file import open_program
from swinbench.cases import VARIANTS, Case

CONFIGS = {'mask_rcnn': 'mask_rcnn_swin_t_coco', 'upernet': 'upernet_swin_t_ade20k'}


def build(case: Case, library: str = 'mmswin') -> nn.Module:
    """The model of a case on the backbone of a library, with weights of its own."""
    make_torchvision_importable()  # .venv/peers has one, which mmseg imports where it is
    cfg = load_config(CONFIGS[case.model], None, None)
    ours = cfg.model.backbone
    ours.update(arch=VARIANTS[case.variant], window_size=case.window, drop_path_rate=0)
    if library == 'mmdet':
        shape = dict(embed_dims=96, depths=(2, 2, 18 if case.variant == 'S' else 6, 2), num_heads=(3, 6, 12, 24))
        kept = {key: ours[key] for key in ('embed_dims', 'depths', 'num_heads') if key in ours}
        cfg.model.backbone = dict(
            type='SwinTransformer', window_size=case.window, drop_path_rate=0, **{**shape, **kept}
        )
    return revert_sync_batchnorm(build_model(cfg)).eval()


def weights(case: Case) -> dict[str, Tensor]:
    """Random weights, always the same, with which a detector finds as many objects as it may."""
    model, generator = build(case), torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            gain = {'fc_cls': 4.0, 'fc_reg': 0.1}.get(name.split('.')[-2], 1.0)
            spread = 0.5 if name.endswith('bias_table') else gain * parameter[0].numel() ** -0.5
            parameter.data.copy_(spread * torch.randn(parameter.shape, generator=generator))
    return model.state_dict()


def network(name: str, case: Case, state: Mapping[str, Tensor], threads: int, file: Path) -> Any:
    """An implementation with the given weights; programs are kept in ``file`` for the next one."""
    if name in ('mmdet', 'mmswin'):
        model = build(case, name)
        if name == 'mmdet':
            backbone = {key[9:]: value for key, value in state.items() if key.startswith('backbone.')}
            heads = {key: value for key, value in state.items() if not key.startswith('backbone.')}
            state = {**heads, **export(backbone, 'mmdet').tensors}
        model.load_state_dict(state)
        return _Eager(model, case, name)
    model = build(case)
    model.load_state_dict(state)
    return _Program(name, model, case, threads, file)


class _Eager(nn.Module):
    """mmdet's or mmseg's own ``predict``."""

    def __init__(self, model: nn.Module, case: Case, name: str) -> None:
        super().__init__()
        self.model, self.case, self.name = model, case, name

    def mixed(self, dtype: torch.dtype | None) -> AbstractContextManager:
        """What it is computed under; mmdet and mmseg in float32, as mmdet's NMS knows nothing else on a CPU."""
        return mixed_precision(self.model, dtype) if dtype and self.name != 'mmdet' else contextlib.nullcontext()

    def forward(self, image: Tensor) -> list[Tensor]:
        """``B x 3 x H x W``, normalised, to what is compared."""
        size = tuple(image.shape[2:])
        facts = dict(img_shape=size, ori_shape=size, pad_shape=size, scale_factor=(1.0, 1.0), batch_input_shape=size)
        if self.case.model == 'upernet':
            return [self.model.encode_decode(image, [facts] * len(image))]
        from mmdet.structures import DetDataSample

        found = [
            one.pred_instances for one in self.model.predict(image, [DetDataSample(metainfo=facts) for _ in image])
        ]
        return [part for one in found for part in _compared(one.bboxes, one.scores)]


class _Program:
    """A program of any size, as ``mmswin export --raw`` writes it; one image after the other for detectors."""

    def __init__(self, name: str, model: nn.Module, case: Case, threads: int, file: Path) -> None:
        library, _, precision = name.partition('-')
        precision = precision or {'float32': 'fp32', 'bfloat16': 'bf16'}[case.precision]
        if precision == 'bf16' and not _has_bfloat16(library):
            raise NotImplementedError('it does not compute in bfloat16 on this processor')
        self.graph = graph_of(model, Request(file))[1]
        deployed = Deployed(self.graph, Preprocessing(inside=False, pad_divisor=32)).eval()
        features = 4 if case.model == 'upernet' else 5
        metadata = {'outputs': list(self.graph.output_names), 'precision': precision}
        if not file.exists():
            deployed.with_features = features  # where int8 ends
            batch = 2 if 0 in deployed.dynamic else 1
            program = record(deployed, torch.zeros(batch, 3, *EXAMPLE), deployed.dynamic)
            onnx_file.write_onnx(program, deployed, deployed.output_names, deployed.dynamic, file)
            onnx_file.write_metadata(file, metadata)
        if library == 'openvino':
            from mmswin.export import openvino_file

            program, file = openvino_file.convert(file), file.with_suffix(f'.{precision}.xml')
            if precision == 'int8':
                images = [torch.randn(1, 3, *EXAMPLE).numpy() for _ in range(4)]
                program = openvino_file.quantize(program, features, images)
            else:
                program = openvino_file.without_last_outputs(program, features)
            openvino_file.write(program, file, metadata)
        self._run = open_program(str(file), threads)[1]

    def __call__(self, image: Tensor) -> list[Tensor]:
        outputs, batches = [], [image] if 'logits' in self.graph.output_names else image.split(1)
        for batch in batches:
            found = dict(zip(self.graph.output_names, self._run(batch.numpy())))
            if 'logits' in found:
                return [torch.from_numpy(found['logits'])]
            size = tuple(image.shape[2:])
            one = instances(found, size, size, self.graph.facts['mask_threshold'])
            outputs += _compared(torch.from_numpy(one.boxes), torch.from_numpy(one.scores))
        return outputs


def _compared(boxes: Tensor, scores: Tensor) -> list[Tensor]:
    """Scores and sides of boxes, each in order: objects with nearly one score may be in any."""
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1).sqrt()
    return [scores.sort(descending=True)[0], sides.sort(descending=True)[0]]


def _has_bfloat16(library: str) -> bool:
    if library != 'openvino':
        return False
    import openvino

    return 'BF16' in openvino.Core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
