"""Exporting to a file: built, written, read back elsewhere and compared; there is a file only if all that went well."""

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import mmswin
from mmswin.atomic import is_out_of_room, replacing, size_text
from mmswin.checkpoints.downloads import sha256
from mmswin.errors import RunError, SavingError
from mmswin.export import comparison, onnx_file
from mmswin.export.onnx_file import KEY, require, version_of
from mmswin.export.preprocessing import Deployed, Preprocessing, read_config
from mmswin.export.printed import held_back
from mmswin.export.program import INPUT, BackboneGraph, Graph, record
from mmswin.inference import sources
from mmswin.inference.exported_backend import prepare, resize

LIBRARIES = {'.pt2': (), '.onnx': ('onnx', 'onnxscript', 'onnxruntime'), '.xml': ('onnx', 'onnxscript', 'openvino')}
PRECISIONS = ('fp32', 'bf16', 'int8')
# Pictures that int8 is calibrated on, at most.
CALIBRATION = 32
# Of the image that a program is recorded with: no two sides are alike at any stage, and none is 1.
EXAMPLE = (200, 264)


@dataclass
class Request:
    """What to export; see the options of ``mmswin export``.

    Attributes:
        out: The file, ``.pt2``, ``.onnx`` or ``.xml``.
        static: Height and width of all images, or None for images of any size.
        precision: One of :data:`PRECISIONS`; less than fp32 is for ``.xml``.
        images: Where there are pictures to compare and calibrate on; needed for less than fp32.
        opset: Of ONNX.
        labels: Of segmentation, labels instead of logits.
        backbone: The backbone alone.
        raw: Preprocessing outside: the program takes float32 as the network does.
        max_loss: The largest loss of AP, mIoU or accuracy, in points, with which a program of less precision is written; None
            allows 1 beside annotations, and 5 beside what the float32 program finds.
        overwrite: Replace what is there.
    """

    out: Path
    static: tuple[int, int] | None = None
    precision: str = 'fp32'
    images: str | None = None
    opset: int = 20
    labels: bool = False
    backbone: bool = False
    raw: bool = False
    max_loss: float | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        self.out = Path(self.out)
        if self.out.suffix.lower() in LIBRARIES:
            self.out = self.out.with_suffix(self.out.suffix.lower())

    def check(self) -> None:
        """All that can be known before any work.

        Raises:
            RunError: Options that do not go together, a missing library, or a place where nothing can be written.
        """
        kind = self.out.suffix.lower()
        if kind not in LIBRARIES:
            raise RunError(f'{self.out}: the suffix says what is written: .pt2 (torch), .onnx or .xml (OpenVINO)')
        if self.precision not in PRECISIONS:
            raise RunError(f'precision {self.precision!r} is unknown; choose one of {", ".join(PRECISIONS)}')
        if self.precision != 'fp32' and kind != '.xml':
            raise RunError(f'--precision {self.precision} is for OpenVINO: name a file that ends in .xml')
        if self.precision != 'fp32' and (self.images is None or self.backbone):
            raise RunError(
                f'--precision {self.precision} needs --images DIR and a whole model, to measure what it costs'
            )
        if self.max_loss is not None and self.precision == 'fp32':
            raise RunError('--max-loss is for --precision bf16 or int8: in float32 nothing may be lost')
        if self.static is not None and min(self.static) < 1:
            raise RunError(f'--static {self.static[0]} {self.static[1]}: height and width are at least 1 pixel')
        require(*LIBRARIES[kind], *(['nncf'] if self.precision == 'int8' else []))
        if self.images is not None:
            sources.find(self.images)
        there = [path for path in (self.out, *self._weights()) if path.exists()]
        if there and not self.overwrite:
            raise RunError(f'{there[0]} exists; choose another name or add --overwrite')
        try:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.out.parent):
                pass
        except OSError as error:
            raise RunError(f'{self.out} cannot be written: {error.strerror or error}') from error

    def _weights(self) -> list[Path]:
        """The second file of OpenVINO's programs."""
        return [self.out.with_suffix('.bin')] if self.out.suffix.lower() == '.xml' else []

    def take(self, folder: Path) -> None:
        """Move what was written into ``folder`` to its place."""
        if self._weights():
            self.out.unlink(missing_ok=True)  # an old one would go with the new weights
        for path in (*self._weights(), self.out):
            source = folder / path.name
            with source.open('rb') as made, replacing(path, source.stat().st_size) as file:
                shutil.copyfileobj(made, file, 1 << 24)


def graph_of(model: nn.Module, request: Request) -> tuple[str, Graph]:
    """The task of a model, and its graph.

    Raises:
        RunError: It has parts that cannot be exported, or no labels where they are asked for.
    """
    if request.labels and (request.backbone or not hasattr(model, 'decode_head')):
        raise RunError('--labels is for a whole model of semantic segmentation, which this is not: leave it out')
    if request.backbone:
        return 'backbone', BackboneGraph(model.backbone)
    if hasattr(model, 'decode_head'):
        from mmswin.export.segmentors import SegmentorGraph

        return 'segmentation', SegmentorGraph(model, request.labels)
    if any(kind.__name__ == 'ImageClassifier' for kind in type(model).__mro__):
        from mmswin.export.classifiers import ClassifierGraph

        return 'classification', ClassifierGraph(model)
    from mmswin.export import detectors

    return 'detection', detectors.graph_of(model)


def export_file(
    config: str,
    checkpoint: str,
    request: Request,
    cfg_options: Sequence[str] | None = None,
    trust_checkpoint: bool = False,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Export a model of mmdet, mmseg or mmpretrain to a file, and prove it; on a difference nothing is written.

    Args:
        config: Path of the configuration, or the name of one that comes with mmswin.
        checkpoint: Path or URL of the weights.
        request: What to write.
        cfg_options: Changes of the configuration.
        trust_checkpoint: See :func:`mmswin.inference.load`.
        say: Called with each line of the report.

    Returns:
        The file's metadata.

    Raises:
        RunError: See :class:`Request`; a model that cannot be exported; an exporter that fails; a program that differs,
            or whose precision costs too much.
        CheckpointError: The checkpoint cannot be read, or is for another model.
        SavingError: The file cannot be written.
    """
    request.check()
    from mmswin.inference.torch_backend import TorchBackend

    backend = TorchBackend.load(config, checkpoint, 'cpu', cfg_options, trust_checkpoint)
    preprocessing = read_config(backend.cfg, not (request.raw or request.backbone))
    if request.backbone:  # which takes maps of any size itself
        preprocessing = replace(preprocessing, pad_divisor=1)
    task, graph = graph_of(backend.model, request)
    try:
        with tempfile.TemporaryDirectory() as folder:
            writing = _Writing(request, task, graph, preprocessing, Path(folder))
            writing.metadata |= _facts(config, checkpoint, backend)
            writing.write(say)
            writing.prove(backend.model, say)
            if request.precision != 'fp32':
                writing.reduce(backend.cfg, say)
            request.take(writing.folder)
    except OSError as error:
        if not is_out_of_room(error):
            raise
        raise SavingError(
            f'there is no room for the program in {tempfile.gettempdir()}: export TMPDIR=DIRECTORY names another place'
        ) from error
    size = sum(path.stat().st_size for path in (request.out, *request._weights()))
    say(f'written    {request.out}, {size_text(size)}')
    return writing.metadata


def _facts(config: str, checkpoint: str, backend: Any) -> dict[str, Any]:
    """What the metadata say of the model's origin."""
    file = Path(checkpoint)
    digest = sha256(file) if file.is_file() else None
    return {
        'classes': list(backend.classes),
        'palette': None if backend.palette is None else [list(map(int, colour)) for colour in backend.palette],
        'reading': backend.reading,
        'config': Path(config).name,
        'checkpoint': {'file': file.name, 'sha256': digest},
    }


class _Writing:
    """One export, in a folder of its own: the program, its metadata, and what was found out about it."""

    def __init__(self, request: Request, task: str, graph: Graph, preprocessing: Preprocessing, folder: Path) -> None:
        self.request, self.task, self.graph = request, task, graph
        self.preprocessing, self.folder = preprocessing, folder
        self.path = folder / request.out.name
        self.kind = request.out.suffix.lower()
        self.log = request.out.with_name(f'{request.out.name}.log')
        libraries = ('torch', *LIBRARIES[self.kind], *(['nncf'] if request.precision == 'int8' else []))
        self.metadata: dict[str, Any] = {
            'task': task,
            'inputs': [INPUT],
            'outputs': list(graph.output_names),
            'static': None if request.static is None else list(request.static),
            'precision': 'fp32',
            'preprocessing': asdict(preprocessing),
            'facts': graph.facts,
            'versions': {'mmswin': mmswin.__version__, **{name: version_of(name) for name in libraries}},
        }

    def write(self, say: Callable[[str], None]) -> None:
        """Record and write the program in float32."""
        if self.kind == '.pt2' and self.task == 'detection':
            raise RunError(
                f'{self.request.out}: detectors have operators that torch lacks without mmcv; export to .onnx or .xml'
            )
        deployed = Deployed(self.graph, self.preprocessing).eval()
        dynamic = {} if self.request.static else deployed.dynamic
        self._dynamic = tuple(dynamic.values())
        batch, size = 2 if 'batch' in self._dynamic else 1, self.request.static or EXAMPLE
        shape, dtype = ((*size, 3), torch.uint8) if self.preprocessing.inside else ((3, *size), torch.float32)
        example = torch.zeros(batch, *shape, dtype=dtype)
        if self.request.precision == 'int8':
            with torch.no_grad():
                deployed.with_features = len(self.graph.features(torch.zeros(1, 3, *EXAMPLE)))
        axes = ', '.join(dynamic.values())
        say(f'recording  {self.task}, {"x".join(map(str, example.shape))}' + (f'; {axes} may vary' if axes else ''))
        with held_back(self.log):
            self._record(deployed, example, dynamic)
        self._save(self.path, self.metadata)

    def _record(self, deployed: Deployed, example: torch.Tensor, dynamic: dict[int, str]) -> None:
        program = record(deployed, example, dynamic)
        if self.kind == '.pt2':
            self._save = partial(_save_torch, program)
        else:
            written = self.path.with_suffix('.onnx')
            names = deployed.output_names
            onnx_file.write_onnx(program, deployed, names, dynamic, written, self.request.opset)
            self.metadata['opset'] = self.request.opset
            self._save = onnx_file.write_metadata
            if self.kind == '.xml':
                from mmswin.export import openvino_file

                self.model = openvino_file.convert(written)
                written.unlink()
                whole = openvino_file.without_last_outputs(self.model, deployed.with_features)
                self._save = partial(openvino_file.write, whole)

    def prove(self, model: nn.Module, say: Callable[[str], None]) -> None:
        """Compare the program with the model at other sizes than it was recorded at, and note the largest differences.

        Raises:
            RunError: One is above :data:`mmswin.export.comparison.LIMITS`.
        """
        request, given = self.request, asdict(self.preprocessing)
        images = comparison.pictures([request.static] * 2 if request.static else comparison.SIZES)
        if request.images is not None:
            if request.static:
                given = {**given, 'scale': request.static[::-1], 'keep_ratio': False, 'short_side': None, 'crop': None}
            images += [resize(image, given) for image in _pictures(request.images, 2, self.metadata['reading'])]
        # The last input is a batch of three.
        batch = comparison.pictures([comparison.SIZES[1]] * 3) if 'batch' in self._dynamic else []
        expected = [comparison.of_model(model, self.task, image, given) for image in (*images, *batch)]
        inputs = [prepare(image, given) for image in (*images, *batch)]
        stacked = [np.concatenate(inputs[len(images) :])] if batch else []
        found = comparison.run_elsewhere(self.path, inputs[: len(images)] + stacked)
        if batch:
            last = found.pop()
            found += [{name: value[i : i + 1] for name, value in last.items()} for i in range(len(batch))]
        worst: dict[str, float] = {}
        for wanted, got, image in zip(expected, found, (*images, *batch)):
            for name, value in comparison.differences(wanted, got, self.graph.facts, image.shape[:2]).items():
                worst[name] = max(worst.get(name, 0.0), value)
        sizes = [list(image.shape[:2]) for image in images]
        self.metadata['proof'] = {'sizes': sizes, 'batch': 3 if batch else 1, 'largest_difference': worst}
        objects = sum(len(one['found']) for one in expected if 'found' in one)
        counted = f', {objects} objects' if self.task == 'detection' else ''
        text = ', '.join(f'{name} {value:.1e}' for name, value in worst.items())
        say(
            f'compared   in a process without mmswin, {len(images) + len(stacked)} inputs{counted}: largest difference {text}'
        )
        wrong = [name for name, value in worst.items() if not value <= comparison.LIMITS[name]]
        if wrong:
            limits = ', '.join(f'{name} {comparison.LIMITS[name]:.0e}' for name in wrong)
            raise RunError(
                f'the program does not give what the model gives: {text}; allowed is {limits}. Nothing was written. '
                'To report it, send this line, the configuration and the output of `mmswin doctor`'
            )
        if self.task == 'detection' and not objects:
            say(
                '           no object was found in them, so boxes were not compared: --images DIR names pictures with objects'
            )
        self._save(self.path, self.metadata)

    def reduce(self, cfg: Any, say: Callable[[str], None]) -> None:
        """Replace the program by one of less precision, if that costs no more than is allowed.

        Raises:
            RunError: It does; or the quantisation fails.
        """
        from mmswin.export import accuracy, openvino_file

        request, exact = self.request, self.folder / f'{self.path.stem}.exact.xml'
        for suffix in ('.xml', '.bin'):
            shutil.copy(self.path.with_suffix(suffix), exact.with_suffix(suffix))
        self.metadata['precision'] = request.precision
        if request.precision == 'int8':
            given = asdict(self.preprocessing)
            images = [prepare(resize(image, given, request.static), given, request.static)
                      for image in _pictures(request.images, CALIBRATION, self.metadata['reading'])]  # fmt: skip
            say(f'quantising backbone and neck, on {len(images)} pictures')
            features = len(self.model.outputs) - len(self.metadata['outputs'])
            with held_back(self.log):
                quantized = openvino_file.quantize(self.model, features, images)
            self._save = partial(openvino_file.write, quantized)
        self._save(self.path, self.metadata)
        measured = accuracy.measure([exact, self.path], request.images, cfg)
        before, after = measured.values
        loss = before - after
        limit = request.max_loss if request.max_loss is not None else accuracy.ALLOWED[measured.annotated]
        text = f'{measured.metric} {before:.2f} in float32, {after:.2f} in {request.precision}'
        say(f'measured   {text}, on {measured.pictures} pictures; the truth: {measured.truth}')
        if not loss <= limit:
            raise RunError(
                f'{request.precision} costs {loss:.2f} points ({text}), and {limit:g} are allowed: nothing was written. '
                'Allow more with --max-loss, or give pictures with objects like those in training'
            )
        self.metadata['accuracy'] = {
            'metric': measured.metric, 'fp32': before, request.precision: after, 'pictures': measured.pictures,
            'truth': measured.truth,
        }  # fmt: skip
        self._save(self.path, self.metadata)


def _pictures(folder: str, number: int, reading: dict[str, Any]) -> list[np.ndarray]:
    """The first pictures of a folder.

    Raises:
        RunError: There is none that can be read.
    """
    skipped: list[tuple[str, str]] = []
    frames = sources.read(sources.find(folder), skipped, **reading)
    found = [frame.image for frame in islice(frames, number)]
    if not found:
        raise RunError(f'{folder}: no picture in it can be read: {skipped[0][1] if skipped else "it is empty"}')
    return found


def _save_torch(program: torch.export.ExportedProgram, path: Path, metadata: dict[str, Any]) -> None:
    torch.export.save(program, str(path), extra_files={f'{KEY}.json': json.dumps(metadata)})
