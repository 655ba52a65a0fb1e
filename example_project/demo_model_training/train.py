"""Train the demo's CLIP from scratch and save it as a folder that `SentenceTransformer(folder)` loads.

cd example_project && python -m demo_model_training.train
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import tempfile
import time
from pathlib import Path

# torch reads this when it is imported. Threads that wait without sleeping tripled the CPU time of training.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from torch.nn import functional
from transformers import CLIPModel, CLIPProcessor, PreTrainedTokenizerFast

from .captions import Attributes, document, query, some_of
from .kinds import KINDS
from .model import build_image_processor, build_model, build_tokenizer
from .rendering import COLOURS, PATTERNS, render
from .training_pictures import training_set

OUTPUT = Path(__file__).resolve().parent.parent / "demo_model"
MAX_BYTES = 4_000_000
BATCH_SIZE = 96
PICTURES = 24_000
LEARNING_RATE = 1.6e-3


class Trainer:
    """The state of one training run."""

    def __init__(self, model: CLIPModel, tokenizer: PreTrainedTokenizerFast, steps: int, seed: int) -> None:
        self.model, self.tokenizer, self.steps = model, tokenizer, steps
        self.rng = random.Random(seed)
        self.generator = torch.Generator().manual_seed(seed)
        processor = build_image_processor()
        self.mean = torch.tensor(processor.image_mean).view(1, 3, 1, 1)
        self.std = torch.tensor(processor.image_std).view(1, 3, 1, 1)
        # Classification heads for kind, colour and pattern, used in training only: with them, the vision
        # tower learns before the text tower knows its words.
        width = model.config.vision_config.hidden_size
        self.heads = torch.nn.ModuleList(
            torch.nn.Linear(width, classes) for classes in (len(KINDS), len(COLOURS), len(PATTERNS))
        )
        self.weights = [*model.parameters(), *self.heads.parameters()]
        self.optimizer = torch.optim.AdamW(
            self.weights, lr=LEARNING_RATE, weight_decay=0.05, betas=(0.9, 0.98)
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self.learning_rate_factor)

    def learning_rate_factor(self, step: int) -> float:
        """Return the factor for the learning rate: a short warm-up, then a cosine that ends at zero."""
        warm_up = max(1, self.steps // 20)
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, self.steps - warm_up)))

    def run(self, shown: list[Attributes], pictures: torch.Tensor) -> None:
        """Train for all steps, on shuffled batches of the pictures and of what they show."""
        self.model.train()
        order: list[int] = []
        started = time.perf_counter()
        for step in range(self.steps):
            if len(order) < BATCH_SIZE:
                order = torch.randperm(len(shown), generator=self.generator).tolist()
            batch, order = order[:BATCH_SIZE], order[BATCH_SIZE:]
            loss = self.step([shown[i] for i in batch], pictures[batch])
            if step % 50 == 0 or step == self.steps - 1:
                print(f"step {step:5d}  loss {loss:.3f}  {time.perf_counter() - started:.0f} s", flush=True)

    def step(self, shown: list[Attributes], pictures: torch.Tensor) -> float:
        """Learn from one batch. Return the loss."""
        loss = self.loss(shown, augmented(pictures, self.generator))
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.model.logit_scale.data.clamp_(0, math.log(50))  # CLIP limits its learned temperature too
        return float(loss.detach())

    def loss(self, shown: list[Attributes], pictures: torch.Tensor) -> torch.Tensor:
        """Return the sum of the contrastive losses and of those of the classification heads."""
        named = [some_of(attributes, self.rng) for attributes in shown]
        half = len(shown) // 2  # documents are long and learned early, so half as many of them are enough
        queries = self.embed_texts([query(attributes, self.rng) for attributes in named])
        documents = self.embed_texts([document(attributes, self.rng) for attributes in shown[:half]])
        pooled = self.pooled_images(pictures)
        images = functional.normalize(self.model.visual_projection(pooled), dim=-1)
        query_classes = torch.tensor([attributes.class_indices() for attributes in named])
        classes = torch.tensor([attributes.class_indices() for attributes in shown])
        relevant, same = matches(query_classes, classes), matches(classes, classes)
        scale = self.model.logit_scale.exp()
        loss = contrastive_loss(scale * queries @ images.T, relevant)
        loss = loss + contrastive_loss(scale * queries @ documents.T, relevant[:, :half])
        loss = loss + 0.5 * contrastive_loss(scale * documents @ images.T, same[:half])
        heads = [functional.cross_entropy(head(pooled), classes[:, i]) for i, head in enumerate(self.heads)]
        return loss + sum(heads, loss.new_zeros(()))

    def embed_texts(self, texts: list[str]) -> torch.Tensor:
        """Return vectors of unit length: float32 (n, dim)."""
        tokens = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        hidden = self.model.text_model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        return functional.normalize(self.model.text_projection(hidden.pooler_output), dim=-1)

    def pooled_images(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return the vision tower's pooled output before the projection: float32 (n, width)."""
        return self.model.vision_model(pixel_values=(pictures - self.mean) / self.std).pooler_output


def augmented(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return the pictures with random blur, brightness and noise: float32 from 0 to 1."""
    batch = pictures.float() / 255
    count = len(batch)
    gain = 1 + 0.08 * torch.randn(count, 1, 1, 1, generator=generator)
    blurred = functional.avg_pool2d(functional.pad(batch, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    amount = torch.rand(count, 1, 1, 1, generator=generator).sub(0.6).clamp(min=0) * 2
    batch = (batch + (blurred - batch) * amount) * gain
    return (batch + 0.015 * torch.randn(batch.shape, generator=generator)).clamp(0, 1)


def matches(text_classes: torch.Tensor, picture_classes: torch.Tensor) -> torch.Tensor:
    """Return which texts match which pictures: bool (n, m) for classes (n, 3) and (m, 3); -1 matches all."""
    rows, columns = text_classes[:, None, :], picture_classes[None, :, :]
    return ((rows == columns) | (rows == -1)).all(dim=-1)


def contrastive_loss(logits: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """Return the symmetric contrastive loss with several positives a row: "a mug" matches every mug.

    Supervised contrastive learning (Khosla et al., 2020, L_out).
    """
    total = logits.new_zeros(())
    for scores, targets in ((logits, positive), (logits.T, positive.T)):
        weight = targets / targets.sum(dim=1, keepdim=True).clamp(min=1)
        total = total - (weight * functional.log_softmax(scores, dim=1)).sum(dim=1).mean()
    return total / 2


def save(model: CLIPModel, tokenizer: PreTrainedTokenizerFast, output: Path) -> None:
    """Write the folder in the format of sentence-transformers. Raise SystemExit if it exceeds 4 MB."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        CLIPProcessor(build_image_processor(), tokenizer).save_pretrained(folder)
        wrapped = SentenceTransformer(folder, device="cpu")
    shutil.rmtree(output, ignore_errors=True)
    wrapped.save(str(output), create_model_card=False)
    for path in output.iterdir():
        path.chmod(0o644)  # safetensors lets only the owner read its file
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    if size > MAX_BYTES:
        raise SystemExit(f"{output} has {size} bytes, more than {MAX_BYTES}. Make the towers smaller.")


def measure(output: Path, seed: int) -> dict[str, float]:
    """Return retrieval figures of the saved model, over one new picture of every kind and colour.

    The queries are new, too. `hit@10` is the share of queries whose kind and colour are among the first ten
    pictures; `first` is the share for which they come first.
    """
    model = SentenceTransformer(str(output), device="cpu")
    gallery = [(kind, colour) for kind in KINDS for colour in COLOURS]
    pictures = [render(kind, colour, size=128, seed=900_000 + seed) for kind, colour in gallery]
    images = model.encode(pictures, normalize_embeddings=True, batch_size=64)
    figures: dict[str, float] = {}
    for language in ("en", "fr"):
        rng = random.Random(f"{language}/{seed}/measure")
        texts = [{"text": query(Attributes(*shown, None), rng, language)} for shown in gallery]
        ranking = np.argsort(-model.encode(texts, normalize_embeddings=True) @ images.T, axis=1)
        ranks = np.argmax(ranking == np.arange(len(gallery))[:, None], axis=1)
        figures[f"{language}_hit@10"] = round(float((ranks < 10).mean()), 4)
        figures[f"{language}_first"] = round(float((ranks == 0).mean()), 4)
    return figures


def tokenizer_texts(seed: int) -> list[str]:
    """Return queries and documents as training uses them, for the tokenizer to learn its vocabulary."""
    rng = random.Random(seed)
    shown = [
        Attributes(rng.choice(KINDS), rng.choice(list(COLOURS)), rng.choice(PATTERNS)) for _ in range(12_000)
    ]
    return [rng.choice((query, document))(attributes, rng) for attributes in shown]


def parse_arguments() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        description=(
            "Train the demo's CLIP (English and French, at most 4 MB) from scratch on drawn pictures, and "
            "save it as a folder for sentence-transformers. This takes about 16 minutes on two CPU cores."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the folder to write; it is replaced")
    parser.add_argument("--steps", type=int, default=1700, help=f"training steps of {BATCH_SIZE} pictures")
    parser.add_argument("--pictures", type=int, default=PICTURES, help="training pictures to draw")
    parser.add_argument("--seed", type=int, default=7, help="seed of pictures, captions and weights")
    return parser.parse_args()


def main() -> None:
    """Draw the pictures, train, save and measure."""
    options = parse_arguments()
    started, workers = time.perf_counter(), len(os.sched_getaffinity(0))
    shown, drawn = training_set(options.pictures, options.seed, workers)
    pictures = torch.from_numpy(drawn).permute(0, 3, 1, 2).contiguous()
    print(f"{len(shown)} pictures drawn in {time.perf_counter() - started:.0f} s", flush=True)
    torch.set_num_threads(workers)
    torch.manual_seed(options.seed)
    tokenizer = build_tokenizer(tokenizer_texts(options.seed))
    model = build_model(tokenizer)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters} parameters, {len(tokenizer)} tokens", flush=True)
    Trainer(model, tokenizer, options.steps, options.seed).run(shown, pictures)
    save(model.eval(), tokenizer, options.output)
    seconds = round(time.perf_counter() - started)
    figures = {
        **measure(options.output, options.seed),
        "parameters": parameters,
        "pictures": options.pictures,
        "steps": options.steps,
        "seed": options.seed,
        "seconds": seconds,
        "cpu_seconds": round(sum(os.times()[:4])),
        "threads": workers,
    }
    (options.output / "metrics.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
