"""The probe says what it is about to look at before it does, and outlives what an import raises."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from mmswin.environment import probe


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    probe.main()
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_facts_and_errors(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def ends() -> None:
        raise SystemExit('no display\nmore')

    monkeypatch.setattr(probe, 'FACTS', {'json': lambda: probe.import_facts('json'), 'ends': ends})
    found = lines(capsys)
    assert found[:2] == [{'start': 'json'}, {'name': 'json', 'facts': {'version': json.__version__}}]
    assert found[2:] == [{'start': 'ends'}, {'name': 'ends', 'error': 'SystemExit: no display'}]


def test_what_is_here() -> None:
    import mmcv
    import torch

    import mmswin

    assert probe.FACTS['python']()['version'] == list(sys.version_info[:3])
    assert probe.FACTS['distributions']()['torch'].startswith(torch.__version__.split('+')[0])
    assert probe.torch_facts()['version'] == torch.__version__
    assert probe.FACTS['mmcv']() == {'version': mmcv.__version__}
    assert probe.ops_facts()['cpu'] == [0]
    assert probe.mmswin_facts() == {'version': mmswin.__version__}


def test_what_an_interrupted_removal_left_is_no_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / '~orch-2.0.dist-info').mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert 'torch' in probe.FACTS['distributions']()
