"""Small networks that were published for flow pictures of 28 x 28 pixels, and a perceptron.

Each is `features`, which ends in a feature map, and `head`, which makes the embedding of it.
Pictures of another size are brought to 28 x 28 first (bilinear). Streams that see one channel each
are groups of one convolution. None has dropout inside; `model.dropout` takes its place before the
classifier, so that folds can be trained in parallel. Where a network differs from its paper,
`conf/backbone` says so.
"""

from collections.abc import Sequence

import torch
from timm.models.vision_transformer import Block
from torch import nn

from mer.errors import MerError

#: Side in pixels of the pictures that the networks see.
SIDE = 28


class FlowNetwork(nn.Module):
    """Two sequences of modules under timm's contract.

    Args:
        features: Modules up to the last feature map.
        head: Modules that make the embedding of it, in one row.
        num_features: Width E of the embedding.
        num_classes: Outputs of the network's own classifier; 0 leaves it out.
    """

    def __init__(
        self,
        features: Sequence[nn.Module],
        head: Sequence[nn.Module],
        num_features: int,
        num_classes: int,
    ) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Upsample(SIDE, mode="bilinear"), *features)
        self.head = nn.Sequential(*head, nn.Flatten())
        self.num_features = num_features
        self.reset_classifier(num_classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Compute logits, or embeddings without a classifier, of images (B, C, S, S)."""
        return self.forward_head(self.forward_features(image))

    def forward_features(self, image: torch.Tensor) -> torch.Tensor:
        """Compute the last feature map (B, F, H, W)."""
        features: torch.Tensor = self.features(image)
        return features

    def forward_head(self, features: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Compute embeddings (B, E) of feature maps, or what the classifier makes of them."""
        embedding: torch.Tensor = self.head(features)
        return embedding if pre_logits else self.classifier(embedding)

    def reset_classifier(self, num_classes: int) -> None:
        """Set a new classifier; 0 classes leave it out."""
        self.classifier: nn.Module = (
            nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        )


class Perceptron(FlowNetwork):
    """One hidden layer on all values of the picture."""

    def __init__(self, in_chans: int, num_classes: int = 0, width: int = 128) -> None:
        pixels = nn.PixelUnshuffle(SIDE)  # all values of a picture as channels of one pixel
        hidden = nn.Conv2d(in_chans * SIDE**2, width, 1)
        super().__init__([pixels, hidden, nn.ReLU()], [], width, num_classes)


class STSTNet(FlowNetwork):
    """Shallow triple stream three-dimensional CNN (Liong et al., FG 2019).

    Its streams of 3, 5 and 8 filters see the same channels and are joined without being mixed, so
    together they are one convolution of 16 filters.
    """

    def __init__(self, in_chans: int, num_classes: int = 0) -> None:
        features = [
            nn.Conv2d(in_chans, 16, 3, padding=2),
            nn.ReLU(),
            nn.BatchNorm2d(16),
            nn.MaxPool2d(3, padding=1),
            nn.AvgPool2d(2),
        ]
        super().__init__(features, [], 16 * 5 * 5, num_classes)


class OFFApexNet(FlowNetwork):
    """OFF-ApexNet (Gan et al., Signal Processing: Image Communication 2019).

    Args:
        in_chans: Channels of the input.
        num_classes: See `FlowNetwork`.
        channels: Those that have a stream: horizontal and vertical flow.
    """

    def __init__(
        self, in_chans: int, num_classes: int = 0, channels: Sequence[int] = (0, 1)
    ) -> None:
        streams = len(channels)
        features = [
            Channels(channels, in_chans),
            nn.Conv2d(streams, 6 * streams, 5, padding=2, groups=streams),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6 * streams, 16 * streams, 5, padding=2, groups=streams),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        head = [
            nn.Flatten(),
            nn.Linear(16 * streams * 7 * 7, 1024),
            nn.ReLU(),
            nn.Linear(1024, 1024),
            nn.ReLU(),
        ]
        super().__init__(features, head, 1024, num_classes)


class DualInception(FlowNetwork):
    """Dual-Inception network (Zhou, Mao and Xue, FG 2019). Arguments as of `OFFApexNet`."""

    def __init__(
        self, in_chans: int, num_classes: int = 0, channels: Sequence[int] = (0, 1)
    ) -> None:
        streams = len(channels)
        features = [
            Channels(channels, in_chans),
            Inception(streams, 1, 6),
            nn.MaxPool2d(2),
            Inception(streams, 4 * 6, 16),
            nn.MaxPool2d(2),
        ]
        head = [nn.Flatten(), nn.Linear(64 * streams * 7 * 7, 1024), nn.ReLU()]
        super().__init__(features, head, 1024, num_classes)


class RCNA(FlowNetwork):
    """Recurrent convolutional network with an attention unit (Xia et al., IEEE TIP 2020)."""

    def __init__(self, in_chans: int, num_classes: int = 0, width: int = 64) -> None:
        features = [
            nn.Conv2d(in_chans, width, 5),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            AttendedRecurrence(width),
        ]
        super().__init__(features, [], width * 6 * 6, num_classes)


class RegionTransformer(FlowNetwork):
    """Four-region transformer after HTNet (Wang et al., Neurocomputing 2024).

    A quarter of the picture is a region of four patches, which attend to each other; then one token
    of each region attends to those of the others.

    Args:
        in_chans: Channels of the input.
        num_classes: See `FlowNetwork`.
        width: Width of a patch's token; that of a region is twice as wide.
        depth: Transformer blocks inside the regions, and among them.
    """

    def __init__(
        self,
        in_chans: int,
        num_classes: int = 0,
        width: int = 64,
        depth: tuple[int, int] = (2, 2),
    ) -> None:
        inside, among = depth
        features = [
            nn.Conv2d(in_chans, width, 7, stride=7),
            Attention(width, 2, inside),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.MaxPool2d(3, stride=2, padding=1),
            Attention(2 * width, 2, among),
        ]
        head = [nn.AdaptiveAvgPool2d(1)]
        super().__init__(features, head, 2 * width, num_classes)


class Channels(nn.Module):
    """Leaves some channels of a picture."""

    def __init__(self, channels: Sequence[int], in_chans: int) -> None:
        super().__init__()
        if not channels or not all(0 <= channel < in_chans for channel in channels):
            raise MerError(
                f"channels={list(channels)} must be some of the input's, 0 to {in_chans - 1}"
            )
        self.channels = list(channels)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Give the channels of images (B, C, H, W)."""
        return image[:, self.channels]


class Inception(nn.Module):
    """Four convolutions side by side (Szegedy et al., CVPR 2015), for each stream its own.

    Args:
        streams: Number of streams; their channels follow each other.
        before: Channels of each stream.
        filters: Filters of each convolution and stream, so that a stream has four times as many.
    """

    def __init__(self, streams: int, before: int, filters: int) -> None:
        super().__init__()

        def conv(channels: int, side: int) -> nn.Sequential:
            shape = streams * channels, streams * filters, side
            layer = nn.Conv2d(*shape, padding=side // 2, groups=streams)
            return nn.Sequential(layer, nn.ReLU())

        self.streams = streams
        self.branches = nn.ModuleList(
            [
                conv(before, 1),
                nn.Sequential(conv(before, 1), conv(filters, 3)),
                nn.Sequential(conv(before, 1), conv(filters, 5)),
                nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), conv(before, 1)),
            ]
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Compute maps (B, 4 * streams * filters, H, W)."""
        made = [branch(maps).unflatten(1, (self.streams, -1)) for branch in self.branches]
        return torch.cat(made, dim=2).flatten(1, 2)


class AttendedRecurrence(nn.Module):
    """A convolution that is applied twice to its input and what it gave, then weighed by place.

    The weights of the places are the mean over the channels of the input, 0 at the lowest place and
    1 at the highest one; they have no parameters.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.forth = nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.back = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.mean = nn.AvgPool2d(2)
        self.largest = nn.MaxPool2d(2)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Compute maps (B, F, H / 2, W / 2)."""
        state = self.forth(maps)
        for _ in range(2):
            state = self.back(maps + state)
        places = self.mean(maps).mean(dim=1, keepdim=True)
        places = places - places.amin(dim=(2, 3), keepdim=True)
        places = places / places.amax(dim=(2, 3), keepdim=True).clamp(min=1e-6)
        attended: torch.Tensor = self.largest(state) * places
        return attended


class Attention(nn.Module):
    """Transformer blocks over squares of a map, each square for itself.

    Args:
        width: Channels of the map.
        side: Side of a square, which divides that of the map.
        depth: Number of blocks.
    """

    def __init__(self, width: int, side: int, depth: int) -> None:
        super().__init__()
        self.side = side
        self.position = nn.Parameter(torch.zeros(1, side**2, width))
        self.blocks = nn.Sequential(*(Block(width, num_heads=4) for _ in range(depth)))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Compute maps of the same shape (B, F, H, W)."""
        side, (count, width, height, breadth) = self.side, maps.shape
        rows, columns = height // side, breadth // side
        squares = maps.view(count, width, rows, side, columns, side).permute(0, 2, 4, 3, 5, 1)
        tokens = self.blocks(squares.reshape(-1, side**2, width) + self.position)
        squares = tokens.view(count, rows, columns, side, side, width).permute(0, 5, 1, 3, 2, 4)
        made: torch.Tensor = squares.reshape(count, width, height, breadth)
        return made


#: The networks, whose `forward_features` is `features`.
NETWORKS = (Perceptron, STSTNet, OFFApexNet, DualInception, RCNA, RegionTransformer)
