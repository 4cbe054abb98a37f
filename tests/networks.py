"""Networks of families that timm has no small one of, under names of their own."""

from timm.layers import ConvNormAct, create_classifier
from timm.models import (
    beit,
    build_model_with_cfg,
    mobilenetv3,
    register_model,
    resnet,
    swin_transformer,
)
from timm.models.inception_v3 import InceptionV3
from timm.models.inception_v4 import (
    InceptionA,
    InceptionB,
    InceptionC,
    InceptionV4,
    Mixed3a,
    Mixed4a,
    Mixed5a,
    ReductionA,
    ReductionB,
)
from timm.models.pnasnet import Cell, CellStem0, PNASNet5Large
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
    "little_inception_v4": FACTS | {"first_conv": "features.0.conv", "classifier": "last_linear"},
    "little_pnasnet": FACTS | {"first_conv": "conv_0.conv", "classifier": "last_linear"},
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


def thin(inputs: int, outputs: int, padding=0, **options) -> ConvNormAct:
    """Make a convolution of an Inception v4 with an eighth of its channels."""
    return ConvNormAct(inputs // 8 or inputs, outputs // 8, padding=padding, **options)


class LittleInceptionV4(InceptionV4):
    """A thin Inception v4 with one block of each kind."""

    def __init__(self, num_classes=1000, in_chans=3):
        nn.Module.__init__(self)  # InceptionV4's own makes 41 million parameters
        self.num_classes, self.num_features = num_classes, 1536 // 8
        blocks = (Mixed3a, Mixed4a, Mixed5a, InceptionA, ReductionA)
        blocks += (InceptionB, ReductionB, InceptionC)
        self.features = nn.Sequential(
            thin(in_chans, 32, kernel_size=3, stride=2),
            thin(32, 32, kernel_size=3),
            thin(32, 64, kernel_size=3, padding=1),
            *(block(thin) for block in blocks),
        )
        self.head_drop = nn.Identity()
        self.global_pool, self.last_linear = create_classifier(self.num_features, num_classes)


@register_model
def little_inception_v4(pretrained=False, **options):
    """Make a thin Inception v4 with one block of each kind."""
    return build_model_with_cfg(LittleInceptionV4, "little_inception_v4", pretrained, **options)


class LittlePNASNet(PNASNet5Large):
    """A narrow PNASNet with one cell of each kind."""

    def __init__(self, num_classes=1000, in_chans=3):
        nn.Module.__init__(self)  # PNASNet5Large's own makes 82 million parameters
        self.num_classes, self.num_features = num_classes, 80
        self.conv_0 = ConvNormAct(in_chans, 8, 3, stride=2, padding=0, apply_act=False)
        self.cell_stem_0 = CellStem0(8, 4, 8, 4)
        self.cell_stem_1 = Cell(8, 8, 20, 8, match_prev_layer_dims=True, is_reduction=True)
        self.cell_0 = Cell(20, 16, 40, 16, match_prev_layer_dims=True)
        self.cell_1 = Cell(40, 16, 80, 16, is_reduction=True)
        self.act, self.head_drop = nn.ReLU(), nn.Identity()
        self.global_pool, self.last_linear = create_classifier(self.num_features, num_classes)

    def forward_features(self, photos):
        """Give each cell what the two before it made."""
        first = self.conv_0(photos)
        stem = self.cell_stem_0(first)
        before = self.cell_stem_1(first, stem)
        return self.act(self.cell_1(before, self.cell_0(stem, before)))


@register_model
def little_pnasnet(pretrained=False, **options):
    """Make a narrow PNASNet with one cell of each kind."""
    return build_model_with_cfg(LittlePNASNet, "little_pnasnet", pretrained, **options)


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
