"""Opens an exported program, in ONNX Runtime, OpenVINO or torch; needs nothing of mmswin.

``python program_file.py FILE INPUTS.npz OUTPUTS.npz`` runs one as somebody without mmswin does: in a process in which
nothing of mmswin or OpenMMLab can be imported. It takes inputs ``0``, ``1``, ... and writes outputs ``0.NAME``, ....
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ABSENT = ('mmswin', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain')
Runner = Callable[[np.ndarray], list[np.ndarray]]


def open_program(path: str, threads: int = 0) -> tuple[dict[str, Any], Runner]:
    """A program and its metadata.

    Args:
        path: ``.onnx``, ``.xml`` or ``.pt2``.
        threads: How many to compute with; 0 leaves it to the library.

    Returns:
        The metadata, and a function from the image to the outputs in the order of ``metadata['outputs']``.

    Raises:
        ImportError: The library is not installed.
        ValueError: There is no metadata of mmswin in it.
        Exception: What the library raises at the file.
    """
    kind = Path(path).suffix.lower()
    return {'.onnx': _onnxruntime, '.xml': _openvino, '.pt2': _torch}[kind](path, threads)


def _metadata(text: str | None, path: str) -> dict[str, Any]:
    try:
        found = json.loads(text or '')
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get('outputs'), list):
        raise ValueError(f'{path} has no metadata of mmswin: it was written by another exporter')
    return found


def _onnxruntime(path: str, threads: int) -> tuple[dict[str, Any], Runner]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    metadata = _metadata(session.get_modelmeta().custom_metadata_map.get('mmswin'), path)
    name = session.get_inputs()[0].name
    return metadata, lambda image: session.run(metadata['outputs'], {name: image})


def _openvino(path: str, threads: int) -> tuple[dict[str, Any], Runner]:
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    text = model.get_rt_info('mmswin').value if model.has_rt_info('mmswin') else None
    metadata = _metadata(text, path)
    # Without being asked, it computes in bfloat16 on processors that can.
    settings = {'INFERENCE_PRECISION_HINT': 'bf16' if metadata['precision'] == 'bf16' else 'f32', 'NUM_STREAMS': 1}
    if threads:
        settings['INFERENCE_NUM_THREADS'] = threads
    request = core.compile_model(model, 'CPU', settings).create_infer_request()

    def run(image: np.ndarray) -> list[np.ndarray]:
        request.infer([image])
        return [request.get_output_tensor(i).data.copy() for i in range(len(metadata['outputs']))]

    return metadata, run


def _torch(path: str, threads: int) -> tuple[dict[str, Any], Runner]:
    import torch

    if threads:
        torch.set_num_threads(threads)
    extra = {'mmswin.json': ''}
    module = torch.export.load(path, extra_files=extra).module()
    metadata = _metadata(extra['mmswin.json'], path)

    def run(image: np.ndarray) -> list[np.ndarray]:
        with torch.no_grad():
            return [output.numpy() for output in module(torch.from_numpy(image))]

    return metadata, run


def main(path: str, inputs: str, outputs: str) -> None:
    """See the module."""
    for name in ABSENT:
        sys.modules[name] = None  # type: ignore[assignment]
    metadata, run = open_program(path)
    found = {}
    with np.load(inputs) as images:
        for number in images.files:
            for name, value in zip(metadata['outputs'], run(np.ascontiguousarray(images[number]))):
                found[f'{number}.{name}'] = value
    np.savez(outputs, **found)


if __name__ == '__main__':
    main(*sys.argv[1:])
