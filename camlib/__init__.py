"""Helper package of a tutorial book about class activation maps (Zhou et al., CVPR 2016)."""

__version__ = "0.1.0"
