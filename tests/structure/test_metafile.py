"""The metafile for mim: current, complete, and honest about whose figures it holds."""

import yaml

import metafile
from mmswin import shipped
from mmswin.analysis.paper import load_tables

ROWS = [row for table in load_tables(shipped.directory() / 'paper_tables.yaml') for row in table.rows]


def test_it_is_current():
    """After a change of the tables: make docs."""
    assert (shipped.directory() / 'metafile.yml').read_text(encoding='utf-8') == metafile.render(ROWS)


def test_every_configuration_with_a_published_result_is_in_it():
    data = yaml.safe_load(metafile.render(ROWS))
    assert {model['Name'] for model in data['Models']} == {row.config for row in ROWS if row.config}
    collections = {collection['Name'] for collection in data['Collections']}
    for model in data['Models']:
        assert model['Config'] == f'configs/swin/{model["Name"]}.py' and model['Name'] in shipped.names()
        assert model['In Collection'] in collections
        assert ('2111.09883' in str(model.get('Paper'))) == ('swin_v2' in model['Name'])
        assert model['Metadata']['Reproduced'] == ('yes' if model['Name'] == 'swin_cifar100' else 'no')
        assert all(name.startswith('published ') for result in model['Results'] for name in result['Metrics'])
