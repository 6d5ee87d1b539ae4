"""What tests of files from strangers share."""

import pytest

from mmswin.checkpoints import CheckpointError, load_file


@pytest.fixture
def refuse():
    """Read a file that must be refused, and give the sentence."""

    def refused(path, kind=CheckpointError):
        with pytest.raises(kind) as error:
            load_file(path)
        assert str(path) in str(error.value)
        assert '\n' not in str(error.value)
        return str(error.value)

    return refused
