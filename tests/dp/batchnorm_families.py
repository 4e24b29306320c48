"""Small models of KerasHub and Keras Applications that have BatchNormalization."""

import keras
from keras_hub import models

SIZE = 32
HALF = {"bottle_ratio": [0.5], "expand_ratio": [2.0]}


def resnet(block_type, use_pre_activation=False, stem=1, size=SIZE):
    return models.ResNetBackbone(
        input_conv_filters=[64] * stem,
        input_conv_kernel_sizes=[3] * stem,
        stackwise_num_filters=[64, 8],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type=block_type,
        use_pre_activation=use_pre_activation,
        image_shape=(size, size, 3),
    )


def cspnet(block_type, stage_type, **options):
    return models.CSPNetBackbone(
        stem_filters=8,
        stem_kernel_size=3,
        stem_strides=2,
        stackwise_depth=[1, 1],
        stackwise_strides=[1, 2],
        stackwise_num_filters=[8, 16],
        block_type=block_type,
        stage_type=stage_type,
        image_shape=(SIZE, SIZE, 3),
        **options,
    )


def efficientnet():
    return models.EfficientNetBackbone(
        stackwise_kernel_sizes=[3, 3, 3],
        stackwise_num_repeats=[1, 1, 1],
        stackwise_input_filters=[8, 8, 8],
        stackwise_output_filters=[8, 8, 8],
        stackwise_expansion_ratios=[1, 2, 2],
        stackwise_squeeze_and_excite_ratios=[0.0, 0.0, 0.25],
        stackwise_strides=[1, 2, 1],
        stackwise_block_types=["cba", "fused", "unfused"],
        stackwise_force_input_filters=[0, 0, 0],
        stackwise_nores_option=[False] * 3,
        width_coefficient=1.0,
        depth_coefficient=1.0,
        input_shape=(SIZE, SIZE, 3),
    )


def mobilenet():
    return models.MobileNetBackbone(
        stackwise_expansion=[[8], [8, 16]],
        stackwise_num_blocks=[1, 2],
        stackwise_num_filters=[[8], [8, 8]],
        stackwise_kernel_size=[[3], [5, 3]],
        stackwise_num_strides=[[2], [1, 1]],
        stackwise_se_ratio=[[None], [0.25, None]],
        stackwise_activation=[["relu"], ["hard_swish", "hard_swish"]],
        stackwise_padding=[[1], [2, 1]],
        output_num_filters=16,
        depthwise_filters=8,
        depthwise_stride=2,
        depthwise_residual=False,
        last_layer_filter=16,
        squeeze_and_excite=0.5,
        input_num_filters=8,
        image_shape=(SIZE, SIZE, 3),
    )


def mobilenet_v5():
    return models.MobileNetV5Backbone(
        stackwise_block_types=[["er"], ["uir", "mqa"]],
        stackwise_num_blocks=[1, 2],
        stackwise_num_filters=[[8], [8, 8]],
        stackwise_strides=[[2], [2, 1]],
        stackwise_act_layers=[["relu"], ["relu", "relu"]],
        stackwise_exp_ratios=[[2.0], [2.0, 1.0]],
        stackwise_se_ratios=[[0.0], [0.0, 0.0]],
        stackwise_dw_kernel_sizes=[[0], [3, 3]],
        stackwise_dw_start_kernel_sizes=[[0], [0, 0]],
        stackwise_dw_end_kernel_sizes=[[0], [0, 0]],
        stackwise_exp_kernel_sizes=[[3], [0, 0]],
        stackwise_pw_kernel_sizes=[[1], [0, 0]],
        stackwise_num_heads=[[0], [0, 2]],
        stackwise_key_dims=[[0], [0, 4]],
        stackwise_value_dims=[[0], [0, 4]],
        stackwise_kv_strides=[[0], [0, 1]],
        stackwise_use_cpe=[[False], [False, False]],
        num_features=16,
        use_msfa=False,
        norm_layer="batch_norm",
        image_shape=(SIZE, SIZE, 3),
    )


def hgnet(out_features=None, affine=True):
    return models.HGNetV2Backbone(
        depths=[1, 1],
        embedding_size=8,
        hidden_sizes=[8, 8],
        stem_channels=[3, 8, 8],
        hidden_act="relu",
        use_learnable_affine_block=affine,
        stackwise_stage_filters=[[8, 4, 8, 1, 2, 3], [8, 4, 8, 1, 2, 3]],
        apply_downsample=[False, True],
        use_lightweight_conv_block=[False, True],
        out_features=out_features,
        image_shape=(SIZE, SIZE, 3),
    )


def xception():
    return models.XceptionBackbone(
        stackwise_conv_filters=[[8, 8], [8, 16]],
        stackwise_pooling=[True, False],
        image_shape=(SIZE, SIZE, 3),
    )


def densenet():
    return models.DenseNetBackbone(
        stackwise_num_repeats=[1, 2], growth_rate=8, image_shape=(SIZE, SIZE, 3)
    )


def segformer():
    encoder = models.MiTBackbone(
        layerwise_depths=[1, 1],
        image_shape=(SIZE, SIZE, 3),
        hidden_dims=[8, 16],
        layerwise_num_heads=[1, 2],
        layerwise_sr_ratios=[2, 1],
        layerwise_patch_sizes=[7, 3],
        layerwise_strides=[4, 2],
        num_layers=2,
        max_drop_path_rate=0.0,
    )
    backbone = models.SegFormerBackbone(encoder, projection_filters=8)
    return models.SegFormerImageSegmenter(backbone, num_classes=3)


def deeplab():
    backbone = models.DeepLabV3Backbone(
        image_encoder=resnet("basic_block"),
        low_level_feature_key="P2",
        spatial_pyramid_pooling_key="P3",
        dilation_rates=[2, 3],
        upsampling_size=2,
        projection_filters=8,
        image_shape=(SIZE, SIZE, 3),
    )
    return models.DeepLabV3ImageSegmenter(backbone, num_classes=3)


def retinanet():
    from keras_hub.src.models.retinanet.retinanet_backbone import RetinaNetBackbone

    return RetinaNetBackbone(
        image_encoder=resnet("basic_block", size=64),
        min_level=2,
        max_level=3,
        use_p5=False,
        use_fpn_batch_norm=True,
        image_shape=(64, 64, 3),
    )


def basnet():
    encoder = models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
    )
    backbone = models.BASNetBackbone(
        image_encoder=encoder, num_classes=1, image_shape=(64, 64, 3)
    )
    return models.BASNetImageSegmenter(backbone)


def d_fine():
    return models.DFineBackbone(
        backbone=hgnet(out_features=["stage1", "stage2"]),
        decoder_in_channels=[8, 8],
        encoder_hidden_dim=8,
        num_denoising=0,
        num_labels=3,
        hidden_dim=8,
        learn_initial_query=False,
        num_queries=5,
        anchor_image_size=(SIZE, SIZE),
        feat_strides=[4, 8],
        num_feature_levels=2,
        encoder_in_channels=[8, 8],
        encode_proj_layers=[1],
        num_attention_heads=2,
        encoder_ffn_dim=8,
        num_encoder_layers=1,
        hidden_expansion=0.5,
        depth_multiplier=0.5,
        eval_idx=-1,
        num_decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=8,
        decoder_n_points=[2, 2],
        lqe_hidden_dim=4,
        num_lqe_layers=2,
        out_features=["stage1", "stage2"],
        image_shape=(SIZE, SIZE, 3),
        seed=0,
    )


def classifier(task, backbone):
    return lambda: task(backbone(), num_classes=3)


FAMILIES = {
    "resnet": classifier(models.ResNetImageClassifier, lambda: resnet("basic_block")),
    "resnet_v2": classifier(
        models.ResNetImageClassifier, lambda: resnet("bottleneck_block", True)
    ),
    "resnet_vd": classifier(
        models.ResNetImageClassifier, lambda: resnet("basic_block_vd", stem=3)
    ),
    "csp": classifier(
        models.CSPNetImageClassifier, lambda: cspnet("bottleneck_block", "csp", **HALF)
    ),
    "dark": classifier(
        models.CSPNetImageClassifier, lambda: cspnet("dark_block", "dark")
    ),
    "cs3": classifier(
        models.CSPNetImageClassifier, lambda: cspnet("edge_block", "cs3", **HALF)
    ),
    "efficientnet": classifier(models.EfficientNetImageClassifier, efficientnet),
    "mobilenet": classifier(models.MobileNetImageClassifier, mobilenet),
    "mobilenet_v5": mobilenet_v5,
    "hgnet_v2": lambda: models.HGNetV2ImageClassifier(hgnet(), None, 3),
    "xception": classifier(models.XceptionImageClassifier, xception),
    "densenet": classifier(models.DenseNetImageClassifier, densenet),
    "segformer": segformer,
    "deeplab_v3": deeplab,
    "retinanet": retinanet,
    "basnet": basnet,
    "d_fine": d_fine,
}

# Layers of RetinaNet's pyramid that it makes and does not call.
UNUSED = {"output_norm_P2", "output_norm_P3"}
UNUSED_IN = {"basnet": {"conv1_conv", "conv1_bn"}}
# Folders of `keras_hub/src/models`.
FOLDERS = {
    "basnet",
    "cspnet",
    "d_fine",
    "deeplab_v3",
    "densenet",
    "efficientnet",
    "hgnetv2",
    "mobilenet",
    "mobilenetv5",
    "resnet",
    "retinanet",
    "segformer",
    "xception",
}


def application(name, size=32, **options):
    make = getattr(keras.applications, name)
    options = {"include_top": False, "weights": None, **options}
    return lambda: make(input_shape=(size, size, 3), **options)


APPLICATIONS = {
    "densenet121": application("DenseNet121"),
    "efficientnet_b0": application("EfficientNetB0"),
    "efficientnet_v2_b0": application("EfficientNetV2B0"),
    "inception_resnet_v2": application("InceptionResNetV2", 75),
    "inception_v3": application("InceptionV3", 75),
    "mobilenet": application("MobileNet", alpha=0.25),
    "mobilenet_v2": application("MobileNetV2", alpha=0.35),
    "mobilenet_v3": application("MobileNetV3Small", alpha=0.5, minimalistic=True),
    "nasnet": application("NASNetMobile", 32),
    "resnet50": application("ResNet50"),
    "resnet50_v2": application("ResNet50V2"),
    "xception": application("Xception", 71),
}
