"""Images: where they come from, how they are read, and their views.

mnist5k.py, digits.py   TFDS builders that need no download; embedded.py is their base
cluttered_digits.py     MNIST digits on textures, with masks
synthetic.py            patches of photographs, noise
image_folder.py         directories of images; pixels.py decodes and resizes one
tfds_images.py          which features are image and label, and reading them
regions.py              masks, from a set's masks or boxes
mask_folder.py          images with a mask of class numbers each; class_masks.py, TFDS's
augment.py              views: `none`, `crop(4) + flip`, `random_resized_crop`
colour.py               one image's colours; randaugment.py, its fourteen operations
mixing.py               mixup and cutmix, over the global batch
target_views.py         what views do to maps of targets
boxes.py                random rectangles, scaled to squares
"""
