"""What a distilled VGG or AlexNet looks at on VOC 2012: visual concepts at FC1.

  python launch.py quantify --experiment=concepts_voc
  python launch.py quantify --experiment=concepts_voc --student=alexnet
  python launch.py quantify --experiment=concepts_voc --student=vgg11
  python launch.py quantify --experiment=concepts_voc --student=vgg19

Full scale and never run by us: no result of ours is known. The authors'
settings: 16 x 16 cells, their early stop with weight 7.0, b = 0.2, SGD with
momentum 0.9, batches of 64, 150 epochs and 100 more for the layers above the tap.
Foreground and class are those of an image's largest object: the box counts, and
images are not cut to it.
TFDS prepares the set once; that needs TensorFlow (see README).
"""

from kdjax.config import Data, Experiment, Quantify, Student, Teacher

SHARED = {
  "epochs": 150,
  "batch_size": 64,
  "optimizer": "sgd(momentum=0.9, weight_decay=1e-4)",
  "learning_rate": 0.01,
  "augment": "flip",
}

EXPERIMENT = Experiment(
  data=Data(
    dataset="voc/2012",
    test_split="validation",
    image_size=224,
  ),
  teacher=Teacher(**SHARED),
  student=Student(model="vgg16", seeds=3, **SHARED),
  quantify=Quantify(
    tap="fc_1:in",
    weights="fc_0",
    estimator="published",
    entropy_weight=7.0,
    label_epochs=100,
    explained_images=100,
    images_at_once=1,
    compared_images=0,
  ),
)
