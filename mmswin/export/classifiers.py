"""A classifier of mmpretrain as one graph: image in, the probability of each class out."""

from collections.abc import Sequence

from torch import Tensor, nn

from mmswin.export.program import Graph, as_in, shared_copy


class ClassifierGraph(Graph):
    """Backbone, neck and head of an ``ImageClassifier``; any number of images.

    Args:
        model: With its weights; a copy that shares them is kept.

    Raises:
        RunError: It predicts otherwise than by the softmax of its head's values.
    """

    output_names = ('scores',)

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        from mmpretrain.models.classifiers import ImageClassifier
        from mmpretrain.models.heads import ClsHead

        as_in(model, ImageClassifier, 'predict', 'extract_feat')
        as_in(getattr(model, 'head', None), ClsHead, 'predict', '_get_predictions')
        self.model = shared_copy(model)

    def features(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model.backbone(image))

    def heads(self, features: Sequence[Tensor], size: tuple[int, int]) -> tuple[Tensor, ...]:
        maps = tuple(features)
        return (self.model.head(self.model.neck(maps) if self.model.with_neck else maps).softmax(1),)
