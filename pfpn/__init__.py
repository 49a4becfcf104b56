"""pfpn: Panoptic Feature Pyramid Networks and the Lovász losses, to read, to learn from and to use.

Sources that docstrings cite by key:
[PFPN]  Kirillov, Girshick, He, Dollár. Panoptic Feature Pyramid Networks. CVPR 2019.
        arXiv:1901.02446
[PS]    Kirillov, He, Girshick, Rother, Dollár. Panoptic Segmentation. CVPR 2019. arXiv:1801.00868
[FPN]   Lin, Dollár, Girshick, He, Hariharan, Belongie. Feature Pyramid Networks for Object
        Detection. CVPR 2017. arXiv:1612.03144
[MRCNN] He, Gkioxari, Dollár, Girshick. Mask R-CNN. ICCV 2017. arXiv:1703.06870
[LS]    Berman, Rannen Triki, Blaschko. The Lovász-Softmax loss. CVPR 2018. arXiv:1705.08790
"""

from pfpn.version import VERSION as __version__

__all__ = ["__version__"]
