"""Networks of families that timm has no small one of, under names of their own."""

from timm.models import (
    beit,
    build_model_with_cfg,
    mobilenetv3,
    register_model,
    resnet,
    swin_transformer,
)
from timm.models.inception_v3 import InceptionV3
from torch import nn

FACTS = {
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "input_size": (3, 64, 64),
    "interpolation": "bicubic",
}
PATCHES = {"first_conv": "patch_embed.proj", "fixed_input_size": True}
default_cfgs = {  # where `register_model` looks for them
    "little_inception": FACTS | {"first_conv": "Conv2d_1a_3x3.conv", "classifier": "fc"},
    "little_resnext": FACTS | {"first_conv": "conv1", "classifier": "fc"},
    "little_mobilenetv3": FACTS | {"first_conv": "conv_stem", "classifier": "classifier"},
    "little_swin": FACTS | PATCHES | {"classifier": "head.fc"},
    "little_beit": FACTS | PATCHES | {"classifier": "head"},
}


class LittleInception(InceptionV3):
    """An Inception v3 with one block of each kind."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        for block in ("5d", "6c", "6d", "6e", "7c"):
            setattr(self, f"Mixed_{block}", nn.Identity())


@register_model
def little_inception(pretrained=False, **options):
    """Make an Inception v3 with one block of each kind."""
    return build_model_with_cfg(LittleInception, "little_inception", pretrained, **options)


@register_model
def little_resnext(pretrained=False, **options):
    """Make a ResNeXt of a block a stage."""
    options |= {"block": resnet.Bottleneck, "layers": (1, 1, 1, 1), "channels": (8, 16, 32, 32)}
    return resnet._create_resnet(
        "little_resnext", pretrained, cardinality=4, base_width=32, **options
    )


@register_model
def little_mobilenetv3(pretrained=False, **options):
    """Make a MobileNetV3 of few blocks, with its convolution after the pool."""
    blocks = ["ds_r1_k3_s2_e1_c16_se0.25", "ir_r1_k3_s2_e2_c24", "ir_r1_k3_s2_e2_c32_se0.25"]
    return mobilenetv3._create_mnv3(
        "little_mobilenetv3",
        pretrained,
        block_args=mobilenetv3.decode_arch_def([[block] for block in [*blocks, "cn_r1_k1_s1_c48"]]),
        num_features=64,
        stem_size=16,
        **options,
    )


@register_model
def little_swin(pretrained=False, **options):
    """Make a Swin Transformer of two stages."""
    options |= {"embed_dim": 16, "depths": (2, 2), "num_heads": (1, 2), "window_size": 4}
    return swin_transformer._create_swin_transformer("little_swin", pretrained, **options)


@register_model
def little_beit(pretrained=False, **options):
    """Make a BEiT of one block."""
    options |= {"embed_dim": 32, "depth": 1, "num_heads": 2, "use_rel_pos_bias": True}
    return beit._create_beit("little_beit", pretrained, use_abs_pos_emb=False, **options)
