"""What of a run's log stays off the terminal: the lines that mmengine and mmdet write for each parameter, hundreds of them."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

# mmengine's constructor of optimizer wrappers, and those of mmdet with layer-wise decay.
_OF_ONE_PARAMETER = re.compile(r'paramwise_options -- |Param groups = |\S+ is skipped since its requires_grad=False')


@contextmanager
def parameters_in_file_alone(logger: logging.Logger) -> Iterator[None]:
    """While this lasts, lines on single parameters go to the files of a logger and not to the terminal."""

    def passes(record: logging.LogRecord) -> bool:
        return not _OF_ONE_PARAMETER.match(record.getMessage())

    terminals = [handler for handler in logger.handlers if not isinstance(handler, logging.FileHandler)]
    for handler in terminals:
        handler.addFilter(passes)
    try:
        yield
    finally:
        for handler in terminals:
            handler.removeFilter(passes)
