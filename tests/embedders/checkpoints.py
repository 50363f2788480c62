"""Checkpoints with random weights, laid out as the published ones are.

Their linear maps keep the size of what goes through them, so that different
sounds get different answers, as they would not from a network fresh from its
library's own initialisation.
"""

import json
import re
from functools import partial

import torch
from safetensors.torch import save_file
from transformers import (
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    HubertConfig,
    HubertModel,
    RobertaTokenizer,
    ViTConfig,
    ViTModel,
)

TINY_CLAP = {
    "audio_config": {
        "patch_embeds_hidden_size": 16,
        "hidden_size": 128,
        "depths": [1, 1, 1, 1],
        "num_attention_heads": [2, 2, 2, 2],
    },
    "text_config": {
        "vocab_size": 300,
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    },
}
OLD_CLAP_KEYS = {
    "torch_dtype": "float32",
    "transformers_version": "4.27.0.dev0",
    "logit_scale_init_value": 14.285714285714285,
    "num_hidden_layers": 16,
    "fusion_num_hidden_layers": 2,
}
OLD_TEXT_KEYS = {
    "position_embedding_type": "absolute",
    "use_cache": True,
    "fusion_hidden_act": "relu",
    "torch_dtype": None,
    "_name_or_path": "",
}
MERT_SIZES = {
    "mert": {"hidden_size": 768, "num_attention_heads": 12, "num_hidden_layers": 12},
    "mert-330m": {
        "hidden_size": 1024,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "do_stable_layer_norm": True,
    },
}
SMALL_MERT = {"intermediate_size": 64, "conv_dim": [16] * 7}
MERT_KEYS = {  # what the published config says beside HubertConfig
    "model_type": "mert_model",
    "architectures": ["MERTModel"],
    "auto_map": {"AutoModel": "modeling_MERT.MERTModel"},
    "torch_dtype": "float32",
    "transformers_version": "4.24.0",
    "feature_extractor_cqt": False,
    "feature_extractor_cqt_bins": 336,
    "deepnorm": False,
    "attention_relax": -1.0,
    "tokenizer_class": "Wav2Vec2CTCTokenizer",
}
MERT_PREPROCESSOR = {
    "do_normalize": True,
    "feature_extractor_type": "Wav2Vec2FeatureExtractor",
    "feature_size": 1,
    "padding_side": "right",
    "padding_value": 0.0,
    "return_attention_mask": True,
    "sampling_rate": 24_000,
}

DINO_SIZES = {
    "dino-vits16": {"hidden_size": 384, "num_attention_heads": 6, "patch_size": 16},
    "dino-vits8": {"hidden_size": 384, "num_attention_heads": 6, "patch_size": 8},
    "dino-vitb16": {"hidden_size": 768, "num_attention_heads": 12, "patch_size": 16},
    "dino-vitb8": {"hidden_size": 768, "num_attention_heads": 12, "patch_size": 8},
}
DINO_FILES = {
    "dino-vits16": "dino_deitsmall16_pretrain.pth",
    "dino-vits8": "dino_deitsmall8_pretrain.pth",
    "dino-vitb16": "dino_vitbase16_pretrain.pth",
    "dino-vitb8": "dino_vitbase8_pretrain.pth",
}
HUB_VIT_NAMES = [  # of the library's network today, and in the files on the hub
    (r"^layers\.", "encoder.layer."),
    (r"attention\.q_proj", "attention.attention.query"),
    (r"attention\.k_proj", "attention.attention.key"),
    (r"attention\.v_proj", "attention.attention.value"),
    (r"attention\.o_proj", "attention.output.dense"),
    (r"mlp\.fc1", "intermediate.dense"),
    (r"mlp\.fc2", "output.dense"),
]


def random_tensor(name, like, generator):
    """Draw a tensor that does at its place what one that was learnt would do."""
    last = name.rpartition(".")[2]
    if last == "running_mean":
        return torch.full(like.shape, -30.0)  # decibels
    if last == "running_var":
        return torch.full(like.shape, 400.0)
    noise = torch.empty(like.shape).normal_(generator=generator)
    if last in ("weight_g", "original0"):
        return 2.5 + 0.2 * noise
    if last == "relative_position_bias_table":
        return 0.5 * noise
    if like.ndim > 1:
        return noise * like[0].numel() ** -0.5
    return 1 + 0.1 * noise if last == "weight" else 0.05 * noise


def random_state(network, config, seed=0):
    """Draw the weights of a network that is never built; positions and counters are left out."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = network(config).state_dict()
    return {
        name: random_tensor(name, like, generator)
        for name, like in shapes.items()
        if like.is_floating_point()
    }


def write_json(path, content):
    path.write_text(json.dumps(content, indent=2))


def write_tokenizer(folder, *, old=False):
    """Write a byte-level tokenizer of RoBERTa's kind that knows no merges."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [256 + i for i in range(256 - len(shown))]
    characters = map(chr, shown + hidden)
    vocabulary = {token: i for i, token in enumerate([*special, *characters, "<mask>"])}
    if old:
        write_json(folder / "vocab.json", vocabulary)
        (folder / "merges.txt").write_text("#version: 0.2\n")
    else:
        RobertaTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)


def write_clap(folder, config=None, *, old=False, seed=0):
    """Write a CLAP checkpoint; an old one is a pickle, with positions, old keys and vocab.json."""
    folder.mkdir(parents=True)
    settings = ClapConfig(**(config or {})).to_dict()
    state = random_state(ClapModel, ClapConfig(**(config or {})), seed)
    if old:
        settings |= OLD_CLAP_KEYS
        settings["text_config"] |= OLD_TEXT_KEYS
        positions = settings["text_config"]["max_position_embeddings"]
        state["text_model.embeddings.position_ids"] = torch.arange(positions)[None]
        torch.save(state, folder / "pytorch_model.bin")
    else:
        save_file(state, folder / "model.safetensors")
    write_json(folder / "config.json", settings)
    ClapFeatureExtractor(frequency_min=50, truncation="rand_trunc").save_pretrained(folder)
    write_tokenizer(folder, old=old)
    return folder


def write_mert(folder, key="mert", *, settings=None, extra=None, preprocessor=None, seed=0):
    """Write a MERT checkpoint as the published ones are: a pickle with weight_g and weight_v.

    All layers are the same tensors, which keeps the file small.
    """
    folder.mkdir(parents=True)
    settings = HubertConfig(**(MERT_SIZES[key] | SMALL_MERT | (settings or {}))).to_dict()
    one_layer = HubertConfig(**(settings | {"num_hidden_layers": 1}))
    state = random_state(HubertModel, one_layer, seed)
    for name in [name for name in state if ".layers.0." in name]:
        for layer in range(1, settings["num_hidden_layers"]):
            state[name.replace(".layers.0.", f".layers.{layer}.")] = state[name]
    renamed = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for name, tensor in state.items()
    }
    torch.save(renamed, folder / "pytorch_model.bin")
    write_json(folder / "config.json", settings | MERT_KEYS | (extra or {}))
    write_json(folder / "preprocessor_config.json", MERT_PREPROCESSOR | (preprocessor or {}))
    return folder


def random_vit(key, layers, seed=0):
    """Draw a vision transformer of one of DINO's sizes, in the library's names."""
    sizes = DINO_SIZES[key]
    config = ViTConfig(
        **sizes, intermediate_size=4 * sizes["hidden_size"], num_hidden_layers=layers
    )
    return config, random_state(partial(ViTModel, add_pooling_layer=False), config, seed)


def original_vit(state):
    """Bring a vision transformer's weights into the layout of DINO's own files."""
    embeddings, patches = "embeddings.", "embeddings.patch_embeddings.projection"
    found = {
        "cls_token": state[f"{embeddings}cls_token"],
        "pos_embed": state[f"{embeddings}position_embeddings"],
    }
    for kind in ("weight", "bias"):
        found[f"patch_embed.proj.{kind}"] = state[f"{patches}.{kind}"]
        for layer in range(sum(name.endswith("q_proj.bias") for name in state)):
            there, here = f"blocks.{layer}", f"layers.{layer}"
            thirds = [state[f"{here}.attention.{one}_proj.{kind}"] for one in "qkv"]
            found[f"{there}.attn.qkv.{kind}"] = torch.cat(thirds)
            found[f"{there}.attn.proj.{kind}"] = state[f"{here}.attention.o_proj.{kind}"]
            found[f"{there}.norm1.{kind}"] = state[f"{here}.layernorm_before.{kind}"]
            found[f"{there}.norm2.{kind}"] = state[f"{here}.layernorm_after.{kind}"]
            found[f"{there}.mlp.fc1.{kind}"] = state[f"{here}.mlp.fc1.{kind}"]
            found[f"{there}.mlp.fc2.{kind}"] = state[f"{here}.mlp.fc2.{kind}"]
        found[f"norm.{kind}"] = state[f"layernorm.{kind}"]
    return found


def hub_vit(state):
    """Bring a vision transformer's weights into the layout of the hub's files."""
    names = list(state)
    for today, there in HUB_VIT_NAMES:
        names = [re.sub(today, there, name) for name in names]
    return dict(zip(names, state.values(), strict=True))


def write_dino(folder, key, *, layers, hub=False, seed=0):
    """Write a DINO checkpoint as its authors released it, or as it is on the hub."""
    folder.mkdir(parents=True)
    config, state = random_vit(key, layers, seed)
    if not hub:
        torch.save(original_vit(state), folder / DINO_FILES[key])
        return folder
    torch.save(hub_vit(state), folder / "pytorch_model.bin")
    write_json(folder / "config.json", config.to_dict())
    return folder
