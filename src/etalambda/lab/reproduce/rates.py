"""What an H200 was measured to do, in the words with which figures say what their minutes rest on.

Measured (``docs/evidence/bench-train/cifar-h200.log``, ``docs/evidence/bench-engine``): ResNet-18
in bf16 takes 12.05 ms a step of 512 pictures, 141 TFLOP/s, and 5 epochs with AdamW and SGD take
19 s, 13 s more than their steps; the engine's step of one small ResNet takes 16 ms and a plain
loop's 8, whatever the batch: the host is the limit; and 0.15 ms a network for figure 3's CNN with
8 channels. All else here is reckoned from those, or called a guess.
"""

RESNET18 = (
    "5.4 s an epoch of ResNet-18: 351 steps of 8 ms, what the host takes for a small ResNet "
    "(arithmetic alone: 3 ms), and 2.6 s to evaluate, as runs of five epochs took beside their "
    "steps"
)
IMAGENET = (
    "of 1.28 million pictures at 5750 a second, ResNet-50's arithmetic at the 141 TFLOP/s that "
    "ResNet-18 reaches; reading JPEG files is not in it"
)
SMALL_RESNET = "16 ms a step of the engine for a small ResNet, where the host is the limit"
PRERESNET32 = (
    "70 ms a step of five PreResNet32: 4.4 times the 16 ms of a ResNet of 7 convolutions in the "
    "engine, where the host is the limit"
)
VGG16 = (
    "31 ms a step of five VGG16: 1.9 times the 16 ms of a ResNet of 7 convolutions in the engine, "
    "where the host is the limit"
)
CNN = (
    "1.6 ms a step of a CNN of 32 channels, ten times the 0.15 ms at 8 channels (between four, the "
    "memory's, and sixteen, the arithmetic's)"
)
FLOAT32 = "40 TFLOP/s in float32, a guess (ResNet-18 with TF32: 121)"
