"""An ONNX file as OpenVINO's program: converted, perhaps quantised before the heads, and written with its metadata."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

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


def quantize(model: Any, features: int, images: Iterable[np.ndarray]) -> Any:
    """Quantise to int8, by NNCF's post-training quantisation, what lies before a model's last outputs; drop those.

    Args:
        model: Whose last outputs are the maps of backbone and neck; what comes after them keeps its precision.
        features: How many.
        images: Inputs to calibrate with.

    Raises:
        RunError: NNCF fails; the message has its words.
    """
    import nncf

    maps = [output.get_node() for output in model.outputs[-features:]]
    before = _ancestors(maps)
    after = [node.get_friendly_name() for node in model.get_ordered_ops() if node.get_friendly_name() not in before]
    ignored = nncf.IgnoredScope(names=[name for name in after if name not in {n.get_friendly_name() for n in maps}],
                                validate=False)  # fmt: skip
    try:
        quantized = nncf.quantize(
            model, nncf.Dataset(images), model_type=nncf.ModelType.TRANSFORMER, preset=nncf.QuantizationPreset.MIXED,
            subset_size=10**6, ignored_scope=ignored,
        )  # fmt: skip
    except Exception as error:
        raise failure('nncf', version_of('nncf'), error) from error
    return without_last_outputs(quantized, features)


def _ancestors(nodes: Iterable[Any]) -> set[str]:
    """Names of all that nodes are computed from, theirs included."""
    found: set[str] = set()
    open_ = list(nodes)
    while open_:
        node = open_.pop()
        if node.get_friendly_name() not in found:
            found.add(node.get_friendly_name())
            open_ += [value.get_source_output().get_node() for value in node.inputs()]
    return found
