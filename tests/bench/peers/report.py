"""The page and the JSON of a comparison."""
import datetime
import importlib.metadata
import json
import platform

HEAD = """# Speed beside other programs, on one CPU

Made by `make bench-peers` (tests/bench/peers): the same weights and inputs, every contender in a process of its own that keeps its
network, asked in turns; the first round does not count, and works of less than 0.3 s are repeated so long within a turn, whose median counts. **Milliseconds, median of the rounds** (fastest to slowest); "x" is the time of the
contender over that of zoo float32 in the same round, median: above 1, zoo is ahead. Compare within a row; other work on the machine
moves all of them. Agreement: largest difference to zoo's float32, or the share of equal ids; of pictures also how many keep their likeliest class (weights and pictures are random: near ties), of STS-B
Spearman's correlation of the cosines with the scores that people gave.

"""


def cpu():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


def flags():
    for line in open("/proc/cpuinfo"):
        if line.startswith("flags"):
            present = line.split()
            return [f for f in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "avx_vnni") if f in present]
    return []


def agreement_text(entry):
    found, parts = entry.get("agreement", {}), []
    if "equal_ids" in found:
        parts.append(f"{100 * found['equal_ids']:.0f} % of ids")
    if "max_difference" in found:
        parts.append(f"{found['max_difference']:.1e}")
    if "same_class" in found:
        parts.append("class {} of {}".format(*found["same_class"]))
    if "spearman" in entry:
        parts.append(f"Spearman {entry['spearman']:.4f}")
    return ", ".join(parts)


def ratio_text(entry):  # none where zoo itself gave nothing to divide by
    return "" if entry["ratio"] is None else f"{entry['ratio']:.2f}"


def line_of(record):
    if "contenders" not in record:
        return "  " + json.dumps(record)
    parts = []
    for name, e in record["contenders"].items():
        parts.append(f"  {name:22} failed: {e['error'][:100]}" if "error" in e else f"  {name:22} {1e3 * e['median']:9.1f} ms   x {ratio_text(e)}   {agreement_text(e)}")
    return "\n".join(parts)


def table(record):
    lines = [f"### {record['work']}", "", f"{record['rounds']} rounds, {record['threads']} threads, zoo {record['zoo_commit']}", "", "| contender | ms | fastest to slowest | x | agreement | peak memory |", "|---|---|---|---|---|---|"]
    for name, e in record["contenders"].items():
        if "error" in e:
            lines.append(f"| {name} | failed: {e['error'][:120].replace('|', ' ')} | | | | |")
            continue
        lines.append(f"| {name} | {1e3 * e['median']:.1f} | {1e3 * e['fastest']:.1f} to {1e3 * e['slowest']:.1f} | {ratio_text(e)} | {agreement_text(e)} | {e['peak_bytes'] / 2**20:.0f} MB |")
    return "\n".join(lines) + "\n\n"


def others(record):
    text = ""
    if "start" in record:
        text += "### From the start of the process (MiniLM, one sentence)\n\n| | seconds |\n|---|---|\n"
        text += "".join(f"| {name} | {e['median']:.2f} |\n" for name, e in record["start"].items()) + "\n"
    if "load" in record:
        load = record["load"]
        text += f"### Loading a checkpoint of {load['bytes'] / 1e9:.2f} GB (BERT-large), from the start of the process\n\n| | seconds | peak memory |\n|---|---|---|\n"
        for name, seconds in load["seconds"].items():
            peak = load["peak_bytes"].get(name)
            text += f"| {'reading the file' if name == 'read' else name} | {seconds:.2f} | {f'{peak / 2**20:.0f} MB' if peak else ''} |\n"
        text += "\n"
    return text


def version_of(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # a comparison may do without it
        return None


def write(path, records, args):
    versions = {p: version for p in ("torch", "transformers", "onnxruntime", "openvino", "ctranslate2") if (version := version_of(p))}
    about = {"date": datetime.date.today().isoformat(), "cpu": cpu(), "features": flags(), "threads": args.threads, "versions": versions}
    text = HEAD
    text += f"{about['date']}, {about['cpu']} ({', '.join(about['features'])}); " + ", ".join(f"{k} {v}" for k, v in versions.items()) + ".\n"
    text += "ONNX Runtime int8: dynamic, per channel. OpenVINO by its precision hint. transformers: eager, scaled dot-product attention. pytorch: tests/bench/peers/itransformer.py, eager.\n"
    text += "Works that are not listed have not been measured. Whole epochs of iTransformer beside the authors' own code: tests/bench/time_series_epoch.py.\n\n"
    for record in records:
        text += table(record) if "contenders" in record else others(record)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.with_suffix(".json").write_text(json.dumps({"about": about, "results": records}, indent=1) + "\n")
    print(f"{path} and {path.with_suffix('.json').name}")
