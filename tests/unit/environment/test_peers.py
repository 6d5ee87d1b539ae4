"""The libraries to compare with: installed once into a folder of their own, and a failure stops nothing."""

from pathlib import Path

import pytest

from mmswin.environment import peers, stacks
from mmswin.environment.plan import Plan
from mmswin.environment.shell import CommandFailed

ROOT = Path(__file__).resolve().parents[3]


class Shell:
    def __init__(self, folder, fails=False):
        self.folder, self.fails = folder, fails
        self.commands, self.lines = [], []

    def note(self, text):
        self.lines.append(text)

    def run(self, command, what):
        self.commands.append(command)
        self.folder.mkdir(parents=True)
        if self.fails:
            raise CommandFailed('installing failed.\nlog', 'log')


@pytest.fixture
def plan(tmp_path):
    return Plan(root=ROOT, stack=stacks.STACKS['openmmlab'], venv=tmp_path, cache=tmp_path, build='cpu')


def test_once_and_without_touching_the_environment(plan, tmp_path):
    shell = Shell(tmp_path / 'peers')
    assert peers.install(plan, shell)
    command = shell.commands[0]
    assert '--no-deps' in command
    assert command[command.index('--target') + 1] == str(tmp_path / 'peers')
    assert peers.install(plan, shell)
    assert len(shell.commands) == 1


def test_other_pins_are_installed_anew(plan, tmp_path):
    shell = Shell(tmp_path / 'peers')
    peers.install(plan, shell)
    (tmp_path / 'peers' / 'mmswin-peers.txt').write_text('other')
    peers.install(plan, shell)
    assert len(shell.commands) == 2


def test_a_failure_is_said_and_leaves_nothing_half_done(plan, tmp_path):
    shell = Shell(tmp_path / 'peers', fails=True)
    assert not peers.install(plan, shell)
    assert shell.lines[-1] == 'not installed, so what needs them is not checked: installing failed.'
    assert not (tmp_path / 'peers').exists()


def test_the_pins_do_not_replace_what_the_stacks_bring():
    pins = stacks.read_pins(ROOT / 'constraints' / 'peers.txt')
    assert {'timm', 'torchvision', 'transformers', 'safetensors'} <= pins.keys()
    for stack in stacks.STACKS:
        own = stacks.read_pins(ROOT / 'constraints' / f'{stack}.txt')
        assert {name for name in pins.keys() & own.keys() if pins[name] != own[name]} == set()
