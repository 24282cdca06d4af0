"""Networks of published shapes with random weights, written once: a Hugging Face folder that zoo and transformers read, and beside it
what the other peers read (model.onnx, model.int8.onnx, ct2/). Each is made when it is first asked for."""
import pathlib
import shutil

import torch
import transformers

import itransformer


def _bert(size):
    sizes = {"base": dict(position_embedding_type="absolute"), "large": dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)}
    return transformers.BertModel(transformers.BertConfig(**sizes[size]))


def _t5():
    config = transformers.T5Config(d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_decoder_layers=12, num_heads=12, decoder_start_token_id=0)
    return transformers.T5ForConditionalGeneration(config)


def _bart():
    config = transformers.BartConfig(d_model=768, encoder_layers=6, decoder_layers=6, encoder_ffn_dim=3072, decoder_ffn_dim=3072,
                                     encoder_attention_heads=12, decoder_attention_heads=12, forced_eos_token_id=None, forced_bos_token_id=None,
                                     normalize_before=False, add_final_layer_norm=False, normalize_embedding=True, static_position_embeddings=False, add_bias_logits=False)
    return transformers.BartForConditionalGeneration(config)


MAKERS = {"bert": lambda: _bert("base"), "bert-large": lambda: _bert("large"), "vit": lambda: transformers.ViTForImageClassification(transformers.ViTConfig(num_labels=1000)),
          "resnet": lambda: transformers.ResNetForImageClassification(transformers.ResNetConfig(num_labels=1000)),
          "swin": lambda: transformers.SwinForImageClassification(transformers.SwinConfig(num_labels=1000)),
          "itransformer": lambda: itransformer.ITransformer(itransformer.etth1_96()), "t5": _t5, "bart": _bart, "gpt2": lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config())}


def _word_tokenizer(size, special):
    """Ids as words: CTranslate2 takes tokens as texts."""
    import tokenizers
    ids = {f"t{i}": i for i in range(size)}
    for word, i in special.items():
        del ids[f"t{i}"]
        ids[word] = i
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, unk_token=next(iter(special))))
    names = {"pad_token": "<pad>", "eos_token": "</s>", "bos_token": "<s>", "unk_token": "<unk>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **{k: v for k, v in names.items() if v in special})


PICTURES = ("vit", "resnet", "swin")
SPECIAL = {"t5": {"<pad>": 0, "</s>": 1, "<unk>": 2}, "bart": {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3},
           "gpt2": {"</s>": 50256, "<unk>": 50255, "<s>": 50254}}


def checkpoint(root, name, minilm):
    """The folder of a network by name; "minilm" is a real checkpoint, linked."""
    folder = pathlib.Path(root) / name
    if (folder / "model.safetensors").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    if name == "minilm":
        for file in pathlib.Path(minilm).rglob("*"):
            if file.is_file() and file.suffix != ".safetensors":
                target = folder / file.relative_to(minilm)
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(file, target)
        shutil.copyfile(pathlib.Path(minilm) / "model.safetensors", folder / "model.safetensors")
        return folder
    torch.manual_seed(0)
    model = MAKERS[name]().eval()
    if name in SPECIAL:
        _word_tokenizer(model.config.vocab_size, SPECIAL[name]).save_pretrained(folder)
    if name == "bert" and minilm:  # the same vocabulary: real sentences through BERT-base
        for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json", "modules.json", "1_Pooling/config.json"):
            (folder / file).parent.mkdir(exist_ok=True)
            shutil.copyfile(pathlib.Path(minilm) / file, folder / file)
    model.save_pretrained(folder)
    return folder


def onnx_file(folder, int8=False):
    """The encoder as ONNX with free batch and length; attention written out, which ONNX Runtime and OpenVINO fuse themselves."""
    file, small = folder / "model.onnx", folder / "model.int8.onnx"
    if not file.exists():
        pictures = folder.name in PICTURES
        auto = transformers.AutoModelForImageClassification if pictures else transformers.AutoModel
        model = auto.from_pretrained(folder, attn_implementation="eager").eval()
        if pictures:
            inputs, names, axes = (torch.randn(2, 3, 224, 224),), ["pixel_values"], {"pixel_values": {0: "B"}}
        else:
            ids = torch.randint(0, 1000, (2, 16))
            inputs, names = (ids, torch.ones_like(ids)), ["input_ids", "attention_mask"]
            axes = {name: {0: "B", 1: "T"} for name in names}

        class Plain(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.model = model

            def forward(self, *given):
                return self.model(*given)[0]

        torch.onnx.export(Plain(), inputs, str(file), input_names=names, output_names=["y"], dynamic_axes=axes, opset_version=17, dynamo=False)
    if int8 and not small.exists():
        from onnxruntime.quantization import QuantType, quantize_dynamic
        quantize_dynamic(str(file), str(small), per_channel=True, weight_type=QuantType.QInt8)
    return small if int8 else file


def ct2_folder(folder):
    target = folder / "ct2"
    if not (target / "model.bin").exists():
        import ctranslate2
        ctranslate2.converters.TransformersConverter(str(folder)).convert(str(target), force=True)
    return target
