"""A recorded program as ONNX, and its metadata; onnx and onnxscript are imported when they are used."""

import importlib
import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmswin.environment.importable import export_folder, make_exporters_importable
from mmswin.errors import RunError
from mmswin.export.program import INPUT, failure

# Key of the metadata, in files of all kinds.
KEY = 'mmswin'


def require(*libraries: str) -> None:
    """Import what an export needs.

    Raises:
        RunError: One is missing, or does not work here; the message says how to install it.
    """
    make_exporters_importable(*libraries)
    missing: dict[str, ImportError] = {}
    for library in libraries:
        try:
            importlib.import_module(library)
        except ImportError as error:
            missing[library] = error
    if missing:
        raise RunError(
            f'this export needs {", ".join(missing)}, which cannot be imported here ({next(iter(missing.values()))}): '
            f'pip install {" ".join(missing)}, or `make peers` in a checkout, which puts them into {export_folder()}'
        )


def version_of(library: str) -> str:
    """The installed version of a library, or 'unknown'."""
    try:
        return version(library)
    except PackageNotFoundError:
        return 'unknown'


def write_onnx(
    program: torch.export.ExportedProgram, graph: nn.Module, names: tuple[str, ...], dynamic: dict[int, str],
    path: Path, opset: int = 20,
) -> None:  # fmt: skip
    """Translate a recorded program and write it.

    Args:
        program: See :func:`mmswin.export.program.record`.
        graph: What it was recorded from, for its operators.
        names: Of the outputs.
        dynamic: Names of the axes that vary.
        path: The file to write.
        opset: Version of ONNX's operators.

    Raises:
        RunError: The exporter of torch.onnx fails; the message has its words.
    """
    require('onnx', 'onnxscript')
    try:
        with torch.no_grad():
            made = torch.onnx.export(
                program, (), dynamo=True, opset_version=opset, verbose=False, input_names=[INPUT],
                output_names=list(names), custom_translation_table=graph.onnx_operators() or None,
            )  # fmt: skip
        image = made.model.graph.inputs[0]
        image.shape = type(image.shape)([dynamic.get(axis, size) for axis, size in enumerate(image.shape)])
        made.save(str(path))
    except Exception as error:
        raise failure('torch.onnx', torch.__version__, error) from error
    # Whatever the exporter was asked for, it may have left a newer one.
    found = read(path).opset_import
    given = next((entry.version for entry in found if entry.domain in ('', 'ai.onnx')), None)
    if given != opset:
        raise RunError(
            f'torch.onnx {torch.__version__} wrote opset {given} where {opset} was asked for: leave out --opset'
        )


def read(path: Path) -> Any:
    """An ONNX file as onnx reads it."""
    import onnx

    return onnx.load(str(path))


def write_metadata(path: Path, metadata: dict[str, Any]) -> None:
    """Write metadata into an ONNX file, as JSON under :data:`KEY`."""
    import onnx

    model = read(path)
    onnx.helper.set_model_props(model, {KEY: json.dumps(metadata)})
    onnx.save(model, str(path))
