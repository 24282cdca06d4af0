"""What transformers writes for lines of text with three tiny filled networks.  python tests/reference/seq2seq_texts.py

Writes tests/fixtures/files/seq2seq.json: for T5, BART and GPT-2 the files of a checkpoint folder (config.json, generation_config.json,
tokenizer.json, tokenizer_config.json), how its weights are filled and scaled, lines, and the texts that generate() makes of them,
greedily and with four beams. No weights: both sides fill the networks by the same rule.
"""
import json
import pathlib
import tempfile

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from fill import fill_
from fixture import FIXTURES
from generation import SCALES, SHAPES, scaled

WORDS = """the a of in and to is was it good bad great cat dog paris london anna peter cafe met saw lives river house blue red small
big . , ! ? ' - ##s ##ing ##ed ##er ##ly ##ville work play walk über ##known ##k ##n 19 ##45 東 京""".split()
SPECIAL = {"t5": ["<pad>", "</s>", "<unk>"], "bart": ["<s>", "<pad>", "</s>", "<unk>"], "gpt2": ["<s>", "<pad>", "</s>", "<unk>"]}
ENDS = {"t5": [1, 11, 52], "bart": [2, 20, 31, 42], "gpt2": [2, 20, 31]}  # so that some lines end early
LINES = ["the cat lives in paris .", "", "Anna met Peter in the Café, then walked to London.", "a", "東京 is a city ?  zebra    unknown", " \t",
         "the big red house of Annaville , 1945 ; the river", "good dog !", "über " * 40 + "cat", "the cat lives in paris ."]


def tokenizer_of(name):
    special = SPECIAL[name]
    tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate([*special, *WORDS])}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    end = ("</s>", special.index("</s>"))
    form, used = ("$A </s>", [end]) if name == "t5" else ("<s> $A </s>", [("<s>", 0), end])
    if name != "gpt2":  # a prompt has no end
        tokenizer.post_processor = processors.TemplateProcessing(single=form, pair=form + " $B </s>", special_tokens=used)
    tokenizer.add_special_tokens(special)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=32,
                                   clean_up_tokenization_spaces=False)


def describe(name):
    cls, config_class, sizes = SHAPES[name]
    tokenizer = tokenizer_of(name)
    sizes = {k: v for k, v in {**sizes, "vocab_size": len(tokenizer), "max_position_embeddings": 80 if name == "bart" else None,
                                   "n_positions": 100 if name == "gpt2" else None}.items() if v is not None}
    model = cls(config_class(**sizes, forced_eos_token_id=None) if name == "bart" else config_class(**sizes)).eval()
    fill_(model, 0)
    scale = scaled(model, SCALES[name])
    start = {} if name == "gpt2" else {"decoder_start_token_id": sizes["decoder_start_token_id"]}
    stored = {**start, "eos_token_id": ENDS[name], "pad_token_id": sizes["pad_token_id"], "no_repeat_ngram_size": 3}
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        files = {file: json.loads((pathlib.Path(folder) / file).read_text()) for file in ("tokenizer.json", "tokenizer_config.json")}
    files["config.json"] = {**sizes, "architectures": [cls.__name__], "model_type": name}
    files["generation_config.json"] = stored
    texts = {}
    for beams in (1, 4):
        texts[str(beams)] = [write(model, tokenizer, line, num_beams=beams, max_new_tokens=64, **stored) for line in LINES]
        print(name, beams, *texts[str(beams)], sep="\n  ")
    losses = [loss_over(model, tokenizer, length, stride) for length, stride in ((24, 10), (24, 24), (100, 50))] if name == "gpt2" else []
    return {"files": files, "scale": scale, "texts": texts, "losses": losses}


def loss_over(model, tokenizer, length, stride):
    """Mean loss of the tokens of a text in windows, each token predicted in the first window that reaches it, from what stands before it there."""
    ids = tokenizer("\n".join(LINES), add_special_tokens=False, return_tensors="pt", truncation=False)["input_ids"]
    total, count, before = 0.0, 0, 0
    for begin in range(0, ids.size(1), stride):
        end = min(begin + length, ids.size(1))
        with torch.no_grad():
            log_p = model(ids[:, begin:end]).logits[0, :-1].double().log_softmax(-1)
        first = max(before, begin + 1)
        picked = log_p[first - begin - 1:].gather(1, ids[0, first:end].unsqueeze(1))
        total, count, before = total - picked.sum().item(), count + picked.size(0), end
        if end == ids.size(1):
            break
    return {"max_length": length, "stride": stride, "tokens": count, "loss": total / count}


def write(model, tokenizer, line, **options):
    if not line:
        return ""  # nothing in, nothing out
    x = tokenizer(line, return_tensors="pt", truncation=True)
    if not x["input_ids"].numel():
        return ""
    ids = model.generate(input_ids=x["input_ids"], attention_mask=x["attention_mask"], **options)[0]
    prompt = 0 if model.config.is_encoder_decoder else x["input_ids"].size(1)
    return tokenizer.decode(ids[prompt:], skip_special_tokens=True)


if __name__ == "__main__":
    document = {"reference": f"transformers {transformers.__version__}", "lines": LINES, "networks": {name: describe(name) for name in SHAPES}}
    (FIXTURES / "files" / "seq2seq.json").write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n")
