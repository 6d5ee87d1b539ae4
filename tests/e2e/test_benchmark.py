"""tools/benchmark.py: complaints before any work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['--sizes', '800x1344'], "size '800x1344' is not IMAGESxHEIGHTxWIDTH"),
        (['--sides', 'mmdet3'], "side 'mmdet3' is unknown (did you mean mmdet?); choose from"),
        (['--preset', 'tpu'], "--preset 'tpu' is unknown; choose from gpu, cpu"),
        (['--rounds', '0'], '--rounds 0: give 1 or more'),
        (['--device', 'cuda'], '--device cuda: this torch'),
        (
            ['--preset', 'cpu', '--sizes', '1x32x32', '--rounds', '5'],
            '--preset cpu brings its own works and sides: leave out --sizes, --rounds',
        ),
        (['--preset', 'cpu', '--budget', '0'], '--budget 0: give seconds above 0'),
        (['--resume'], '--budget and --resume are for --preset'),
        (['end-to-end', '--configs', 'nowhere.py'], 'config nowhere.py does not exist'),
        (['--rounds', '2', 'end-to-end'], '--rounds 2 stands before end-to-end, whose options go behind it'),
        (['--out', 'figures.txt'], '--out figures.txt must end in .json'),
        (['--out', str(ROOT / 'pyproject.toml')], 'exists: name another file with --out, or add --overwrite'),
    ],
)
def test_bad_input_is_one_line(tmp_path, arguments, message):
    done = subprocess.run(
        [sys.executable, str(ROOT / 'tools/benchmark.py'), *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, 'CUDA_VISIBLE_DEVICES': '-1'},
    )
    assert done.returncode == 2
    assert message in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not any(tmp_path.iterdir())
