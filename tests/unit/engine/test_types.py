"""Types are names, paths or classes; arguments are judged by what reads them."""

import pytest
from mmengine.hooks import CheckpointHook, EMAHook

from mmswin.data.config_facts import short_name
from mmswin.engine.types import accepts, mentions, resolve_type


class Base:
    def __init__(self, width: int) -> None: ...


class Child(Base):
    def __init__(self, *args, height: int = 1, **kwargs) -> None: ...


class Taking(Base):
    def __init__(self, **kwargs) -> None:
        self.depth = kwargs.pop('depth', 1)
        super().__init__(**kwargs)


class Closed(Base):
    def __init__(self, length: int) -> None: ...


@pytest.mark.parametrize(
    ('target', 'name', 'expected'),
    [
        (Child, 'height', True),
        (Child, 'width', True),
        (Child, 'colour', False),
        (Taking, 'depth', True),
        (Closed, 'length', True),
        (Closed, 'width', False),
        (lambda a, **rest: None, 'anything', True),
        (lambda a: None, 'b', False),
    ],
)
def test_keyword_arguments_are_followed_to_what_takes_them(target, name, expected):
    assert accepts(target, name) is expected


@pytest.mark.parametrize('kind', [CheckpointHook, 'CheckpointHook', 'mmengine.hooks.CheckpointHook'])
def test_a_type_is_what_the_registry_resolves(kind):
    assert CheckpointHook in resolve_type(kind, 'mmengine')
    assert EMAHook not in resolve_type(kind, 'mmengine')
    assert short_name(kind) == 'CheckpointHook'


def test_the_code_of_a_class_is_asked():
    assert mentions(Taking, 'depth')
    assert not mentions(Taking, 'de' + 'pt')
