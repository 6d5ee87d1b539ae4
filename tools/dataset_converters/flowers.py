"""Flowers (TensorFlow's flower_photos): class folders to the layout of configs/_base_/datasets/flowers.py.

python tools/dataset_converters/flowers.py flower_photos data/flower_photos

Of each class every tenth picture, by the order of the names, goes to val. Any folder of class folders will do.
"""

import argparse
import shutil
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('source', type=Path, help='folder with one folder of pictures for each class')
    parser.add_argument('target', type=Path, help='folder to write')
    args = parser.parse_args()
    for folder in sorted(path for path in args.source.iterdir() if path.is_dir()):
        pictures = sorted(path for path in folder.iterdir() if path.suffix.lower() in ('.jpg', '.jpeg', '.png'))
        for number, picture in enumerate(pictures, 1):
            place = args.target / ('train' if number % 10 else 'val') / folder.name
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, place)
        print(f'{folder.name}: {len(pictures) - len(pictures) // 10} train, {len(pictures) // 10} val')


if __name__ == '__main__':
    main()
