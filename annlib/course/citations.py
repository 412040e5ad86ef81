"""Where numbers stand that others published: key in a lesson's text -> what readers are told."""

PLACES = {
    "paper-abstract": "paper, abstract",
    "authors-code": "code of the authors",
    "authors-readme": "README of the authors' code",
    "mmseg-code": "code of MMSegmentation",
    "mmseg-cityscapes": "MMSegmentation, its table for Cityscapes",
    "mmseg-ade20k": "MMSegmentation, its table for ADE20K",
    "mmseg-voc12aug": "MMSegmentation, its table for Pascal VOC 2012 + Aug",
    "ccnet-abstract": "CCNet, abstract",
}
