"""Lyrics: texts in some fifty languages, read by a multilingual MiniLM.

It hears no sound. The network is a BERT, which the transformers library has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from soundalike.embedders.base import Card
from soundalike.embedders.notes import file_digest
from soundalike.embedders.pretrained import CONFIG, Pretrained, known_settings
from soundalike.embedders.weights import Part, Source
from soundalike.types import FloatArray, Window

if TYPE_CHECKING:
    import torch

DIM = 384
LAYERS = 12
MOST_TOKENS = 128  # with the two that begin and end a text
TOKENIZER = "tokenizer.json"
UNUSED = "pooler."  # a layer that was trained with the network and is no part of the vector


class Lyrics(Pretrained):
    """The vector of a text is the mean of what the last layer says of its tokens.

    It runs on the processor, wherever the networks that hear run: a text takes it a moment.
    """

    runtime = "torch"

    card = Card(
        key="lyrics",
        summary="What a text says, in some fifty languages; it takes no sound.",
        sample_rate=0,
        window_s=None,
        min_seconds=0,
        frame_dim=0,
        frame_rate_hz=0,
        pooling="own",
        dim=DIM,
        front_end={"version": 1, "most_tokens": MOST_TOKENS, "mean": "all-tokens"},
        weights=Source(
            repository="sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2",
            parts=(
                Part("model.safetensors"),
                Part("pytorch_model.bin"),
                Part(CONFIG),
                Part(TOKENIZER),
            ),
            licence="Apache-2.0",
            commercial=True,
        ),
        proof="the real weights of its English sister all-MiniLM-L6-v2, read by the same code",
        takes=("text",),
        options={"long": ("cut", "mean")},
    )

    def load(self) -> None:
        """Bring the network into memory.

        Raises
        ------
        WeightsMissing, LicenceRefused
        Quarantined
            The checkpoint is of another network, or cannot be used.
        """
        # before the library: that there are no weights is to be found out at once
        state = self.read_weights()

        from transformers import BertModel, PreTrainedTokenizerFast

        fast: Any = PreTrainedTokenizerFast  # it has no types
        config = self._config()
        used = {name: tensor for name, tensor in state.items() if not name.startswith(UNUSED)}
        self._network: Any = self.build(
            BertModel, config, used, attn_implementation="sdpa", add_pooling_layer=False
        )
        self._tokenizer = self.read_tokenizer(
            lambda: fast(tokenizer_file=str(self.folder / TOKENIZER)), config.vocab_size
        )
        self.probe_texts(self.embed_texts)

    def _config(self) -> Any:
        from transformers import BertConfig

        found = self.settings
        self.require(CONFIG, found, {"hidden_size": DIM, "num_hidden_layers": LAYERS})
        settings = known_settings(BertConfig(), found)
        return self.configure(lambda settings: BertConfig(**settings), settings)

    def file_facts(self) -> dict[str, Any]:
        """Tell what the checkpoint says of its network, and which tokenizer it has."""
        tokenizer = file_digest(self.folder / TOKENIZER)
        return {"config": self.config_digest(), "tokenizer": tokenizer}

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Embed texts one by one: the vector of one hangs on no other's length.

        Returns
        -------
        ndarray of float32, shape (len(texts), 384)
            Not scaled to unit length.
        """
        import torch

        with torch.inference_mode():
            vectors = [self._read(text) for text in texts]
        return np.array(vectors, np.float32).reshape(len(texts), DIM)

    def _read(self, text: str) -> FloatArray:
        import torch

        pieces = self._pieces(text)
        read = [self._network(input_ids=torch.tensor([piece])) for piece in pieces]
        tokens = torch.cat([one.last_hidden_state[0] for one in read])
        vector: FloatArray = tokens.mean(dim=0).numpy()
        return vector

    def _pieces(self, text: str) -> list[list[int]]:
        """Give a text's tokens by number: its beginning, or all of it in pieces that fit."""
        found = self._tokenizer(
            text, truncation=True, max_length=MOST_TOKENS, return_overflowing_tokens=True
        )
        pieces: list[list[int]] = found["input_ids"]
        return pieces if self.options.get("long") == "mean" else pieces[:1]

    def prepare(self, window: Window) -> FloatArray:
        """Refuse a sound with BadRequest."""
        raise self.deaf()

    def hear_all(self, samples: torch.Tensor) -> torch.Tensor:
        """Refuse a sound with BadRequest."""
        raise self.deaf()
