"""Make the training steps of other people's PyTorch code."""

import contextlib
import importlib
import sys

from benchmark_contestants import clocks
from benchmark_contestants import random_images
from benchmark_contestants import sizes_of
from benchmark_contestants import torch_peak_memory


class TorchStep:
    """Base of the two steps written in plain PyTorch."""

    def __init__(self, contestant, model):
        import torch

        self.device = contestant.device
        self.torch_device = "cuda" if contestant.device == "gpu" else "cpu"
        self.precision = getattr(torch, contestant.precision)
        self.model = model.to(self.torch_device).train()
        self.parameters = sum(p.numel() for p in model.parameters())
        self.optimizer = torch.optim.AdamW(
            model.parameters(), 1e-4, betas=(0.9, 0.95), weight_decay=0.05
        )
        self.images = torch.from_numpy(
            random_images(contestant).transpose(0, 3, 1, 2).copy()
        ).to(self.torch_device)

    def autocast(self):
        import torch

        if self.precision == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.torch_device, self.precision)

    def move(self, loss):
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()

    def run(self, steps):
        """Trains so many steps; returns their time by both clocks."""
        before = clocks()
        for _ in range(steps):
            self.step()
        return clocks() - before

    def multiplication(self, matrix):
        """Makes a function that multiplies a matrix by itself some times."""
        import torch

        matrix = torch.from_numpy(matrix).to(self.torch_device, self.precision)

        def multiply(times):
            result = matrix
            for _ in range(times):
                result = matrix @ result
            float(result[0, 0])

        return multiply

    def release_memory(self):
        """Frees memory of the device for the other contestants."""
        import torch

        torch.cuda.empty_cache()

    def peak_memory(self):
        return torch_peak_memory()


class PublishedStep(TorchStep):
    """The published PyTorch code from a clone, its two phases in turn."""

    def __init__(self, contestant):
        import torch

        sys.path.insert(0, contestant.path)
        published = importlib.import_module("models_mae")
        sizes = sizes_of(contestant)
        model = published.MaskedAutoencoderViT(
            img_size=sizes["image_shape"][0],
            patch_size=sizes["patch_size"],
            embed_dim=sizes["hidden_dim"],
            depth=sizes["num_layers"],
            num_heads=sizes["num_heads"],
            decoder_embed_dim=sizes["decoder_hidden_dim"],
            decoder_depth=sizes["decoder_num_layers"],
            decoder_num_heads=sizes["decoder_num_heads"],
        )
        if contestant.variant == "vectorized":
            model.diversity_loss = _vectorized_diversity()
        super().__init__(contestant, model)
        if contestant.method == "mae":
            raise ValueError("The published code has no plain MAE.")
        self.torch = torch

    def step(self):
        model = self.model
        model.freeze_maskingnet()
        with self.autocast():
            loss = model(self.images)
        self.move(loss)
        model.unfreeze_maskingnet()
        model.freeze_backbone()
        with self.autocast():
            reconstruction, *others = model(self.images, train_mask=True)
        self.move(0.5 * reconstruction + sum(others))
        model.unfreeze_backbone()


def _vectorized_diversity():
    """Computes the published diversity term without its loop over pairs."""
    import torch

    class VectorizedDiversity(torch.nn.Module):
        def forward(self, scores):
            distances = torch.nn.functional.pdist(scores.float())
            return torch.exp(-0.1 * distances).mean()

    return VectorizedDiversity()


class HuggingFaceStep(TorchStep):
    """`ViTMAEForPreTraining` of the transformers library."""

    def __init__(self, contestant):
        from transformers import ViTMAEConfig
        from transformers import ViTMAEForPreTraining

        sizes = sizes_of(contestant)
        config = ViTMAEConfig(
            image_size=sizes["image_shape"][0],
            patch_size=sizes["patch_size"],
            hidden_size=sizes["hidden_dim"],
            num_hidden_layers=sizes["num_layers"],
            num_attention_heads=sizes["num_heads"],
            intermediate_size=4 * sizes["hidden_dim"],
            decoder_hidden_size=sizes["decoder_hidden_dim"],
            decoder_num_hidden_layers=sizes["decoder_num_layers"],
            decoder_num_attention_heads=sizes["decoder_num_heads"],
            decoder_intermediate_size=4 * sizes["decoder_hidden_dim"],
        )
        super().__init__(contestant, ViTMAEForPreTraining(config))

    def step(self):
        with self.autocast():
            loss = self.model(self.images).loss
        self.move(loss)
