"""Train the model behind `pruna-opt --demo` and write it, with its data, to `pruna_ir/demo`.

    pip install -c constraints.txt -e '.[dev]'
    python scripts/train_demo.py

A residual network learns scikit-learn's handwritten digits in a minute on one core. Seeds, thread count and order are
fixed, so that two runs on the same processor write the same bytes. BatchNormalization stays beside each Conv, as in
many exports that people bring, so that the fusion passes have something to show.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

DEMO = Path(__file__).resolve().parents[1] / "pruna_ir" / "demo"
SEED = 0
SPLITS = {"train": 997, "calibration": 200, "test": 600}
SCALE = 1 / 16  # the images hold 0 to 16; `digits.yaml` says the same to pruna-opt
EPOCHS = 40
BATCH = 64
OPSET = 17


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016): [N, inputs, H, W] to [N, outputs, H/stride, W/stride]."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class DigitsNet(nn.Module):
    """Images [N, 1, 8, 8] in 0 to 1, to logits [N, 10].

    The second stage keeps the full 8x8 resolution: with less work per layer, the fixed cost of running a node would
    hide what INT8 saves.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.stages = nn.Sequential(ResidualBlock(32, 32), ResidualBlock(32, 64), ResidualBlock(64, 64, stride=2))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, 10))

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head(self.stages(self.stem(image)))
        return logits


def load_splits() -> dict[str, NDArray[np.uint8]]:
    """`<split>_images` [N, 8, 8, 1] with values 0 to 16, and `<split>_labels` [N], for each split; no image twice."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(SEED).permutation(len(digits.target))
    bounds = np.cumsum(list(SPLITS.values()))
    arrays = {}
    for split, rows in zip(SPLITS, np.split(order, bounds[:-1]), strict=True):
        arrays[f"{split}_images"] = digits.images[rows][..., None].astype(np.uint8)
        arrays[f"{split}_labels"] = digits.target[rows].astype(np.uint8)
    return arrays


def to_input(images: NDArray[np.uint8]) -> Tensor:
    """Stored images [N, 8, 8, 1] as the model's input [N, 1, 8, 8]: what the `input` key of `digits.yaml` says."""
    return torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) * np.float32(SCALE))


def shifted_batches(images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch in random order, each image moved by up to one pixel: a thousand images alone would be overfitted."""
    order = torch.randperm(len(images))
    for rows in torch.split(order, BATCH):
        down, right = torch.randint(-1, 2, (2,)).tolist()
        yield torch.roll(images[rows], (down, right), dims=(2, 3)), labels[rows]


def train(images: Tensor, labels: Tensor) -> DigitsNet:
    """Cross-entropy with label smoothing, SGD with Nesterov momentum and a one-cycle rate."""
    model = DigitsNet()
    steps = EPOCHS * -(-len(images) // BATCH)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=steps)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    for epoch in range(EPOCHS):
        model.train()
        for batch, target in shifted_batches(images, labels):
            optimizer.zero_grad()
            loss = loss_of(model(batch), target)
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}/{EPOCHS}: loss {loss.item():.4f}", flush=True)
    return model.eval()


def accuracy(model: DigitsNet, arrays: dict[str, NDArray[np.uint8]], split: str) -> float:
    """The fraction of the split's images whose largest logit is the label's."""
    with torch.no_grad():
        predicted = model(to_input(arrays[f"{split}_images"])).argmax(1).numpy()
    return float((predicted == arrays[f"{split}_labels"]).mean())


def export(model: DigitsNet, path: Path) -> None:
    """Write the trained network as ONNX with a symbolic batch size, less the exporter's debug records.

    The TorchScript exporter is asked to preserve BatchNormalization, which torch's newer one always folds away.
    """
    torch.onnx.export(
        model,
        (torch.zeros(1, 1, 8, 8),),
        path,
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
        opset_version=OPSET,
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
        dynamo=False,
    )
    proto = onnx.load(path)
    strip_debug_records(proto)
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)


def strip_debug_records(proto: onnx.ModelProto) -> None:
    """Drop metadata and document strings: they hold stack traces with the paths of the machine that exported."""
    graph = proto.graph
    for record in (proto, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        record.ClearField("metadata_props")
        record.ClearField("doc_string")


def main() -> None:
    """Train, report the accuracy of each split, and write `digits.onnx` and `digits.npz`."""
    parser = argparse.ArgumentParser(description="Train the demo model and write it with its data.")
    parser.add_argument("--out", type=Path, default=DEMO, help="folder to write to (default: pruna_ir/demo)")
    out: Path = parser.parse_args().out

    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    arrays = load_splits()
    model = train(to_input(arrays["train_images"]), torch.from_numpy(arrays["train_labels"]).long())
    for split in SPLITS:
        print(f"accuracy on {split}: {accuracy(model, arrays, split):.4f}")

    out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out / "digits.npz", allow_pickle=False, **arrays)
    export(model, out / "digits.onnx")


if __name__ == "__main__":
    main()
