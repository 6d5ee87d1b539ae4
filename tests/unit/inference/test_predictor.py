"""The predictor around any backend: batches, tiles, streams, refusals."""

import cv2
import numpy as np
import pytest

from mmswin.errors import RunError


def test_results_come_one_by_one(detector, picture, tmp_path):
    for number in range(5):
        cv2.imwrite(str(tmp_path / f'{number}.png'), picture)
    results = detector(tmp_path, batch=2)
    assert results.total == 5 and detector.backend.batches == []
    first = next(results)
    assert detector.backend.batches == [2]
    assert first.name == '0' and first.counts() == {'red': 1, 'blue': 1}
    np.testing.assert_array_equal(first.instances.boxes, [[15, 10, 35, 30], [40, 60, 140, 70]])
    (tmp_path / '4.png').write_text('broken')
    assert [result.name for result in results] == ['1', '2', '3']
    assert [path for path, _ in results.skipped] == [str(tmp_path / '4.png')]


def test_objects_below_the_score_are_left_out(detector, picture):
    (result,) = detector(picture, score=0.9)
    assert result.counts() == {'red': 1}


def test_tiles_give_what_the_whole_gives(detector, segmentor, picture):
    for predictor in (detector, segmentor):
        (whole,), (tiled,) = predictor(picture), predictor(picture, tile=48, overlap=0.25, batch=3)
        assert predictor.backend.batches == [1, 3, 3, 3, 3, 3]  # 3 x 5 tiles
        if predictor is segmentor:
            np.testing.assert_array_equal(whole.label_map, tiled.label_map)
            assert whole.counts() == {'dark': 90 * 160 - 1400, 'blue': 1000, 'red': 400}
        else:
            np.testing.assert_array_equal(whole.instances.boxes, tiled.instances.boxes)


def test_small_pictures_are_not_cut(detector, picture):
    (result,) = detector(picture, tile=160)
    assert detector.backend.batches == [1] and len(result) == 2


@pytest.mark.parametrize('wrong', [{'batch': 0}, {'tile': 0}, {'overlap': 1.0}, {'score': 2.0}])
def test_arguments_out_of_range_are_refused(detector, picture, wrong):
    with pytest.raises(RunError, match=next(iter(wrong))):
        detector(picture, **wrong)


def test_a_classifier_is_not_given_tiles(classifier, picture):
    with pytest.raises(RunError, match='tile=48'):
        list(classifier(picture, tile=48))
