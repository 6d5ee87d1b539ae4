"""Nothing of an old section is lost: what nobody took is named, with its path."""

from mmswin.upgrade.findings import Report, Section, Untranslated


def test_a_section_is_taken_apart() -> None:
    report, values = Report(), {'a': 1, 'inner': {'b': 2}, 'old': None, 'left': 3}
    section = Section(values, 'data', report)
    assert section.take('a') == 1 and 'a' not in section
    inner = section.section('inner')
    assert inner.path == 'data.inner' and inner == {'b': 2}
    section.drop('old')
    section.close('nobody reads it')
    assert report.untranslated == [Untranslated('data.left', 3, 'nobody reads it')]
    assert values == {'a': 1, 'inner': {'b': 2}, 'old': None, 'left': 3}


def test_each_finding_stands_once_and_long_values_are_cut() -> None:
    report = Report()
    for value in (list(range(100)), 'again'):
        report.failed('key', value, 'why')
        report.done('moved')
        report.remark('noted')
    assert (report.translated, report.remarks) == (['moved'], ['noted'])
    (entry,) = report.untranslated
    assert str(entry).startswith('key = [0, 1, 2') and len(str(entry)) < 80


def test_a_storage_that_is_a_disk_needs_no_entry() -> None:
    for client, kept in (({'backend': 'disk'}, {}), ({'backend': 'petrel'}, {'backend_args': {'backend': 'petrel'}})):
        section = Section({'file_client_args': client}, 'data', Report())
        section.rename_storage()
        assert section == kept
