"""Templates of names: gaps, numbers counted otherwise, both ways."""

import pytest

from mmswin.checkpoints.naming import match, rename, reverse

TABLE = (
    ('features.{2n+1}.{n}.mlp.0.{*}', 'layers.{n}.blocks.{n}.mlp.fc1.{*}'),
    ('features.{2n+2}.{*}', 'layers.{n}.downsample.{*}'),
    ('stage{n+1}.{*}', 'norm{n}.{*}'),
)


@pytest.mark.parametrize(
    ('foreign', 'ours'),
    [
        ('features.1.0.mlp.0.weight', 'layers.0.blocks.0.mlp.fc1.weight'),
        ('features.5.17.mlp.0.bias', 'layers.2.blocks.17.mlp.fc1.bias'),
        ('features.2.norm.bias', 'layers.0.downsample.norm.bias'),
        ('stage4.weight', 'norm3.weight'),
        ('something.else', 'something.else'),
    ],
)
def test_both_ways(foreign, ours):
    assert rename(foreign, TABLE) == ours
    assert rename(ours, reverse(TABLE)) == foreign


@pytest.mark.parametrize('name', ['features.4.0.mlp.0.weight', 'features.x.0.mlp.0.weight', 'features.1.0.mlp.0.'])
def test_what_does_not_fit(name):
    assert match(name, TABLE[0][0]) is None


def test_numbers_below_the_first_do_not_fit():
    assert match('stage0.weight', 'stage{n+1}.{*}') is None
    assert match('stage1.weight', 'stage{n+1}.{*}') == [0, 'weight']


def test_the_first_template_that_fits_wins():
    assert rename('a.1', (('a.{n}', 'first.{n}'), ('a.{*}', 'second.{*}'))) == 'first.1'
    assert rename('a.b', (('a.{n}', 'first.{n}'), ('a.{*}', 'second.{*}'))) == 'second.b'
