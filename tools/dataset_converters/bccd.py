"""Blood cells (BCCD): Pascal VOC files to the layout of configs/_base_/datasets/bccd.py.

python tools/dataset_converters/bccd.py BCCD_Dataset/BCCD data/bccd
"""

import argparse
import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

CLASSES = ('RBC', 'WBC', 'Platelets')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('source', type=Path, help='folder with Annotations/, ImageSets/ and JPEGImages/')
    parser.add_argument('target', type=Path, help='folder to write')
    args = parser.parse_args()
    (args.target / 'annotations').mkdir(parents=True, exist_ok=True)
    categories = [dict(id=number, name=name) for number, name in enumerate(CLASSES, 1)]
    for split in ('train', 'val', 'test'):
        (args.target / split).mkdir(exist_ok=True)
        images, annotations = [], []
        for name in (args.source / f'ImageSets/Main/{split}.txt').read_text().split():
            shutil.copy(args.source / f'JPEGImages/{name}.jpg', args.target / split)
            root = ElementTree.parse(args.source / f'Annotations/{name}.xml').getroot()
            width, height = (int(root.findtext(f'size/{side}')) for side in ('width', 'height'))
            images.append(dict(id=len(images) + 1, file_name=f'{name}.jpg', width=width, height=height))
            for item in root.iter('object'):
                corners = (int(item.findtext(f'bndbox/{corner}')) for corner in ('xmin', 'ymin', 'xmax', 'ymax'))
                left, top, right, bottom = corners
                if left == right or top == bottom:  # two boxes are single points
                    continue
                # VOC counts pixels from 1 and includes the last one.
                w, h = right - left + 1, bottom - top + 1
                cell = dict(bbox=[left - 1, top - 1, w, h], area=w * h, iscrowd=0)
                category = CLASSES.index(item.findtext('name')) + 1
                annotations.append(dict(id=len(annotations) + 1, image_id=len(images), category_id=category, **cell))
        content = dict(images=images, annotations=annotations, categories=categories)
        (args.target / f'annotations/{split}.json').write_text(json.dumps(content))
        print(f'{split}: {len(images)} images, {len(annotations)} boxes')


if __name__ == '__main__':
    main()
