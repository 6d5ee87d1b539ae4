"""An ONNX file as OpenVINO's program: converted, and written with its metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmswin.export.onnx_file import KEY, version_of
from mmswin.export.program import failure


def convert(path: Path) -> Any:
    """An ONNX file as OpenVINO's model.

    Raises:
        RunError: OpenVINO cannot translate it; the message has its words.
    """
    import openvino

    try:
        return openvino.convert_model(str(path))
    except Exception as error:  # of whatever class, it is the converter's
        raise failure('openvino', version_of('openvino'), error) from error


def read(path: Path) -> Any:
    """A written program."""
    import openvino

    return openvino.Core().read_model(str(path))


def without_last_outputs(model: Any, count: int) -> Any:
    """The model without its last outputs and what is for them alone."""
    import openvino

    kept = len(model.outputs) - count
    return openvino.Model(model.outputs[:kept], model.get_parameters(), model.get_friendly_name()) if count else model


def write(model: Any, path: Path, metadata: dict[str, Any]) -> None:
    """Write ``.xml`` and ``.bin``, with all bits of the weights."""
    import openvino

    model.set_rt_info(json.dumps(metadata), KEY)
    openvino.save_model(model, str(path), compress_to_fp16=False)
