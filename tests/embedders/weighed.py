"""An embedder with weights of two numbers, for tests of how weights come and what they do."""

import dataclasses
import threading

import numpy as np

from soundalike.embedders import weights
from soundalike.embedders.fake import Fake
from soundalike.embedders.weights import Part, Source
from soundalike.errors import Quarantined

PARTS = (Part("model.safetensors"), Part("pytorch_model.bin"), Part("config.json"))
FREE = Source("somebody/weighed", PARTS, licence="Apache-2.0", commercial=True)
NONCOMMERCIAL = dataclasses.replace(FREE, licence="CC-BY-NC-4.0", commercial=False)
GAIN = 3.0


class Weighed(Fake):
    """The fake, times its weights; it holds on while loading as long as `may_load` is not set."""

    card = dataclasses.replace(Fake.card, key="weighed", weights=FREE, hidden=False, options={})
    may_load = threading.Event()
    may_load.set()
    loads = 0

    @property
    def folder(self):
        return weights.folder(self.card.key, self.card.weights)

    def load(self):
        type(self).loads += 1
        assert self.may_load.wait(10)
        state = weights.read_state(self.folder, self.card.weights)
        self.gain = state["gain"].numpy()
        if not np.isfinite(self.gain).all():
            raise Quarantined(f"'{self.card.key}' answers NaN.")

    def run(self, batch):
        return [self.gain[0] * part for part in super().run(batch)]

    def weights_digest(self):
        return weights.digest(self.folder, self.card.weights)


class Unfree(Weighed):
    """The same with weights that must not be used commercially."""

    card = dataclasses.replace(Weighed.card, key="unfree", weights=NONCOMMERCIAL)
