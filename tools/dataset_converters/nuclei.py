"""Nuclei of the 2018 Data Science Bowl: one PNG a mask to the layout of configs/_base_/datasets/nuclei.py.

Takes the images of 256 x 256 pixels, which are all of one kind; every tenth of them, by name, is for validation.

python tools/dataset_converters/nuclei.py kaggle-dsbowl-2018-dataset-fixes/stage1_train data/nuclei
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as rle

SIDE = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('source', type=Path, help='folder with NAME/images/NAME.png and NAME/masks/*.png')
    parser.add_argument('target', type=Path, help='folder to write')
    args = parser.parse_args()
    pictures = {
        folder: cv2.imread(str(folder / f'images/{folder.name}.png')) for folder in sorted(args.source.iterdir())
    }
    chosen = [
        folder for folder, picture in pictures.items() if picture is not None and picture.shape[:2] == (SIDE, SIDE)
    ]
    (args.target / 'annotations').mkdir(parents=True, exist_ok=True)
    for split in ('train', 'val'):
        (args.target / split).mkdir(exist_ok=True)
        images, annotations = [], []
        for folder in [folder for number, folder in enumerate(chosen) if (number % 10 == 9) == (split == 'val')]:
            name = f'{folder.name}.png'
            cv2.imwrite(str(args.target / split / name), pictures[folder])
            images.append(dict(id=len(images) + 1, file_name=name, width=SIDE, height=SIDE))
            for path in sorted((folder / 'masks').glob('*.png')):
                mask = rle.encode(np.asfortranarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0, dtype=np.uint8))
                nucleus = dict(bbox=rle.toBbox(mask).tolist(), area=int(rle.area(mask)), iscrowd=0)
                nucleus['segmentation'] = dict(mask, counts=mask['counts'].decode())
                annotations.append(dict(id=len(annotations) + 1, image_id=len(images), category_id=1, **nucleus))
        content = dict(images=images, annotations=annotations, categories=[dict(id=1, name='nucleus')])
        (args.target / f'annotations/{split}_256.json').write_text(json.dumps(content))
        print(f'{split}: {len(images)} images, {len(annotations)} nuclei')


if __name__ == '__main__':
    main()
