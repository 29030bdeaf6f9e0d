"""What distilled AlexNets, VGGs and ResNets look at, on birds and on VOC 2012.

  python launch.py quantify --experiment=concepts/birds
  python launch.py quantify --experiment=concepts/birds --student=alexnet
  python launch.py quantify --experiment=concepts/voc --student=vgg19
  python launch.py quantify --experiment=concepts/birds_resnet
  python launch.py quantify --experiment=concepts/voc_resnet --student=resnet152

VGG-16 by default, at its first dense layer (alexnet, vgg11 and vgg19 have the same
taps); ResNet-50 at its last block (resnet101 and resnet152 likewise). Foreground:
of the birds the set's own segmentation masks; of VOC the box of an image's largest
object, whose class is the image's (the authors cut images to boxes; we do not).

Full scale and never run by us: no result of ours is known. The authors' settings:
16 x 16 cells, their early stop with weight 7 (ResNets: 6), b = 0.2, SGD with
momentum 0.9, batches of 64, 150 epochs and 100 more for the layers above the tap.
TFDS prepares a set once; that needs TensorFlow (see README).
"""

from kdjax.runner.config import Data, Experiment, Quantify, Student, Teacher

_SHARED = {
  "epochs": 150,
  "batch_size": 64,
  "optimizer": "sgd(momentum=0.9, weight_decay=1e-4)",
  "learning_rate": 0.01,
  "augment": "flip",
}
_SETS = {
  "birds": Data(dataset="caltech_birds2011", image_size=224),
  "voc": Data(dataset="voc/2012", test_split="validation", image_size=224),
}
# Model, tap, where the weight distance is taken, and the entropy's weight.
_NETWORKS = {
  "": ("vgg16", "fc_1:in", "fc_0", 7.0),
  "_resnet": ("resnet50", "stage_3", "stage_3/block_2/conv_2", 6.0),
}


def _experiment(data: Data, network: tuple[str, str, str, float]) -> Experiment:
  model, tap, weights, weight = network
  return Experiment(
    data=data,
    teacher=Teacher(**_SHARED),
    student=Student(model=model, seeds=3, **_SHARED),
    quantify=Quantify(
      tap=tap,
      weights=weights,
      estimator="published",
      entropy_weight=weight,
      label_epochs=100,
      explained_images=100,
      images_at_once=1,
      compared_images=0,
    ),
  )


EXPERIMENTS = {
  f"concepts/{name}{suffix}": _experiment(data, network)
  for name, data in _SETS.items()
  for suffix, network in _NETWORKS.items()
}
