"""CLAP: sounds and words in one space, from LAION's htsat-unfused checkpoint.

The library's own pipeline takes a random ten seconds of anything longer. Here
a clip is cut into consecutive windows of ten seconds, and its vector is the
mean of theirs, each counted by its seconds of sound.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from soundalike.embedders import weights
from soundalike.embedders.base import Card, WindowVectors
from soundalike.embedders.features import MelSettings, log_mel, widest
from soundalike.embedders.pretrained import CONFIG, PREPROCESSOR, Pretrained
from soundalike.embedders.weights import Part, Source
from soundalike.errors import Quarantined, WeightsMissing
from soundalike.types import FloatArray, Window

if TYPE_CHECKING:
    import torch

SAMPLE_RATE_HZ = 48_000
WINDOW_S = 10
WINDOW_SAMPLES = WINDOW_S * SAMPLE_RATE_HZ
DIM = 512
TOKENIZERS = ("tokenizer.json", "vocab.json")  # the latter beside merges.txt


class Clap(WindowVectors, Pretrained):
    """The audio tower stays in memory; the text tower is loaded for the first text."""

    card = Card(
        key="clap",
        summary="What a sound is a sound of, in one space with words that say so.",
        sample_rate=SAMPLE_RATE_HZ,
        window_s=WINDOW_S,
        min_seconds=0.02,
        frame_dim=DIM,
        frame_rate_hz=1 / WINDOW_S,
        pooling="mean",
        dim=DIM,
        front_end={
            "version": 1,
            "padding": "repeat-whole-then-zeros",
            "mel": "slaney-area",
            "floor_db": -100,
            "merge": "unit-weighted-by-seconds",
        },
        weights=Source(
            repository="laion/clap-htsat-unfused",
            parts=(
                Part("model.safetensors"),
                Part("pytorch_model.bin"),
                Part(CONFIG),
                Part(PREPROCESSOR),
                Part("tokenizer.json", optional=True),
                Part("tokenizer_config.json", optional=True),
                Part("special_tokens_map.json", optional=True),
                Part("vocab.json", optional=True),
                Part("merges.txt", optional=True),
            ),
            licence="Apache-2.0",
            commercial=True,
        ),
        proof="the transformers library's ClapModel with random weights",
        takes=("audio", "text"),
    )

    def __init__(self, options: Mapping[str, str] | None = None) -> None:
        super().__init__(options)
        self._text_lock = threading.Lock()

    @functools.cached_property
    def mel(self) -> MelSettings:
        """The checkpoint's own front end."""
        found = self.read_settings(PREPROCESSOR)
        wanted = {
            "sampling_rate": SAMPLE_RATE_HZ,
            "max_length_s": WINDOW_S,
            "truncation": "rand_trunc",  # the other, fusion, belongs to another model
            "padding": "repeatpad",
            "top_db": None,
        }
        self.require(PREPROCESSOR, found, wanted)
        try:
            return MelSettings(
                rate_hz=SAMPLE_RATE_HZ,
                fft_size=int(found["fft_window_size"]),
                hop_samples=int(found["hop_length"]),
                bands=int(found["feature_size"]),
                low_hz=float(found["frequency_min"]),
                high_hz=float(found["frequency_max"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise self.unfit(f"'{PREPROCESSOR}' lacks a number that is needed: {error}") from error

    def file_facts(self) -> dict[str, Any]:
        """Tell what the checkpoint says of its network, and its mel settings."""
        return {"config": self.config_digest(), **dataclasses.asdict(self.mel)}

    def load(self) -> None:
        """Bring the audio tower into memory, and try out the text tower once.

        Raises
        ------
        WeightsMissing, LicenceRefused
        Quarantined
            The checkpoint cannot be used for sound. Where it cannot be used for text alone,
            `quarantined` says so.
        """
        # before the library: that there are no weights is to be found out at once
        state = self.read_weights()

        import torch
        from transformers import ClapAudioModelWithProjection

        config = self._config().audio_config
        self.require(CONFIG, config.to_dict(), {"enable_fusion": False, "projection_dim": DIM})
        tower = self.build(
            ClapAudioModelWithProjection, config, _side(state, "audio_model.", "audio_projection.")
        )
        example = log_mel(torch.zeros(1, WINDOW_SAMPLES), self.mel)[:, None]
        self._tower = self.place(tower, example, how=_embed)
        self.probe()
        try:
            self._read_text_side(state)
        except Quarantined as fault:
            self.quarantined["text"] = fault.detail

    def prepare(self, window: Window) -> FloatArray:
        """Repeat what is shorter than ten seconds as often as it fits, then fill with zeros."""
        if len(window.samples) == WINDOW_SAMPLES:
            return window.samples
        repeated = np.tile(window.samples, WINDOW_SAMPLES // len(window.samples))
        return np.pad(repeated, (0, WINDOW_SAMPLES - len(repeated)))

    def hear_all(self, samples: torch.Tensor) -> torch.Tensor:
        """Compute the vectors of N windows, each of unit length, shape (N, 1, 512)."""
        from torch.nn.functional import normalize

        level = log_mel(widest(samples), self.mel).float()
        return normalize(self._tower(level[:, None]), dim=-1)[:, None]

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Embed texts, one by one, into vectors of unit length.

        Returns
        -------
        ndarray of float32, shape (len(texts), 512)

        Raises
        ------
        Quarantined
            `load` found the text side unfit for use.
        WeightsMissing
            It is not in memory yet, and the weights are gone or others.
        """
        if "text" in self.quarantined:
            raise Quarantined(self.quarantined["text"], model=self.card.key)
        with self._text_lock:
            side = self._text_side
        return side.read(texts)

    @functools.cached_property
    def _text_side(self) -> _TextSide:
        now = weights.digest(self.folder, self.source)
        if now != self.weights_digest():
            raise WeightsMissing(
                f"The weights in '{self.folder}' are others than those that hear sound here; "
                "start again, so that words go through the same ones."
            )
        return self._read_text_side(weights.read_state(self.folder, self.source))

    def _read_text_side(self, state: Mapping[str, torch.Tensor]) -> _TextSide:
        """Build the text tower and see that it is alive."""
        from transformers import ClapTextModelWithProjection, RobertaTokenizer

        config = self._config().text_config
        tower = self.build(
            ClapTextModelWithProjection, config, _side(state, "text_model.", "text_projection.")
        )
        if not any((self.folder / name).is_file() for name in TOKENIZERS):
            raise self.unfit(f"it lacks a tokenizer, {' or '.join(TOKENIZERS)}")
        tokenizer = self.read_tokenizer(
            lambda: RobertaTokenizer.from_pretrained(self.folder, local_files_only=True),
            config.vocab_size,
        )
        side = _TextSide(tower, tokenizer)
        self.probe_texts(side.read)
        return side

    def _config(self) -> Any:
        from transformers import ClapConfig

        return self.configure(ClapConfig.from_dict, copy.deepcopy(self.settings))


class _TextSide:
    """The text tower with its tokenizer."""

    def __init__(self, tower: Any, tokenizer: Any) -> None:
        self._tower = tower
        self._tokenizer = tokenizer
        # the first positions are kept for padding
        config = tower.config
        self._most_tokens = config.max_position_embeddings - config.pad_token_id - 1

    def read(self, texts: Sequence[str]) -> FloatArray:
        """Embed texts one by one: the vector of one hangs on no other's length."""
        import torch

        with torch.inference_mode():
            vectors = [self._read_one(text) for text in texts]
        return np.array(vectors, np.float32).reshape(len(texts), DIM)

    def _read_one(self, text: str) -> FloatArray:
        from torch.nn.functional import normalize

        tokens = self._tokenizer(
            text, truncation=True, max_length=self._most_tokens, return_tensors="pt"
        )
        embedded = self._tower(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
        ).text_embeds[0]
        vector: FloatArray = normalize(embedded, dim=-1).numpy()
        return vector


def _embed(tower: Any, level: torch.Tensor) -> torch.Tensor:
    embedded: torch.Tensor = tower(input_features=level).audio_embeds
    return embedded


def _side(state: Mapping[str, torch.Tensor], *prefixes: str) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in state.items() if name.startswith(prefixes)}
