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
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    Data2VecAudioConfig,
    Data2VecAudioModel,
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
SMALL_MUSIC2VEC = SMALL_MERT | {"num_hidden_layers": 12}
MUSIC2VEC_KEYS = {  # what the published config says beside Data2VecAudioConfig
    "_name_or_path": "/somebodys/folder/music2vec",
    "architectures": ["Data2VecAudioModel"],
    "torch_dtype": "float32",
    "transformers_version": "4.24.0",
    "vocab_size": "/somebodys/folder/dict.txt",
}
LYRICS_SIZES = {"hidden_size": 384, "num_attention_heads": 12, "num_hidden_layers": 12}
SMALL_LYRICS = {"vocab_size": 100, "intermediate_size": 64}
LYRICS_KEYS = {  # what the published config says beside BertConfig
    "_name_or_path": "old_models/paraphrase-multilingual-MiniLM-L12-v2/0_Transformer",
    "architectures": ["BertModel"],
    "gradient_checkpointing": False,
    "position_embedding_type": "absolute",
    "transformers_version": "4.7.0",
    "use_cache": True,
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
FIRST_LAYER = re.compile(r"(encoder\.layers?\.)0\.")
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


def one_layer_again_and_again(network, config, settings, seed=0):
    """Draw a network of which all layers are the same tensors, which keeps its file small."""
    state = random_state(network, config(**(settings | {"num_hidden_layers": 1})), seed)
    for name in [name for name in state if FIRST_LAYER.match(name)]:
        for number in range(1, settings["num_hidden_layers"]):
            state[FIRST_LAYER.sub(rf"\g<1>{number}.", name)] = state[name]
    return state


def write_mert(folder, key="mert", *, settings=None, extra=None, preprocessor=None, seed=0):
    """Write a MERT checkpoint as the published ones are: a pickle with weight_g and weight_v."""
    folder.mkdir(parents=True)
    settings = HubertConfig(**(MERT_SIZES[key] | SMALL_MERT | (settings or {}))).to_dict()
    state = one_layer_again_and_again(HubertModel, HubertConfig, settings, seed)
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


def write_music2vec(folder, *, settings=None, extra=None, seed=0):
    """Write a Music2Vec checkpoint as the published one is: a pickle, and a spoilt config."""
    folder.mkdir(parents=True)
    settings = Data2VecAudioConfig(**(SMALL_MUSIC2VEC | (settings or {}))).to_dict()
    state = one_layer_again_and_again(Data2VecAudioModel, Data2VecAudioConfig, settings, seed)
    torch.save(state, folder / "pytorch_model.bin")
    write_json(folder / "config.json", settings | MUSIC2VEC_KEYS | (extra or {}))
    return folder


def write_unigram(path):
    """Write a tokenizer of XLM-R's kind that knows letters alone, with the published file's rules.

    Those are to cut and to fill up at 128 tokens; what reads it is to set its own.
    """
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    letters = [*"\u2581abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,'é雨"]
    scores = [(one, 0.0) for one in special] + [(one, -3.0) for one in letters]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=special.index("<unk>")))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    ends = [(one, special.index(one)) for one in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=ends
    )
    tokenizer.enable_truncation(128)
    tokenizer.enable_padding(length=128, pad_id=1, pad_token="<pad>")
    tokenizer.save(str(path))


def write_lyrics(folder, *, settings=None, extra=None, seed=0):
    """Write a checkpoint of the lyrics' network as published: with a pooler, and positions."""
    folder.mkdir(parents=True)
    settings = BertConfig(**(LYRICS_SIZES | SMALL_LYRICS | (settings or {}))).to_dict()
    state = one_layer_again_and_again(BertModel, BertConfig, settings, seed)
    state["embeddings.position_ids"] = torch.arange(settings["max_position_embeddings"])[None]
    torch.save(state, folder / "pytorch_model.bin")
    write_json(folder / "config.json", settings | LYRICS_KEYS | (extra or {}))
    write_unigram(folder / "tokenizer.json")
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
