"""Trains every time-series recipe, several seeds each, and writes the table of docs/results/time_series.md.

    python3 tests/bench/time_series_table.py --data FOLDER [--runs runs/time_series] [--seeds 1,2,3] [--only itransformer_etth1] [--jobs 1]

FOLDER holds ETTh1.csv, exchange_rate.csv, EPF_NP.csv, EPF_PJM.csv, beijing_pm25.csv. A run that is there already is not repeated, a run that was
cut off goes on. With --jobs N, N trainings run side by side. Needs nothing but Python 3.
"""
import argparse
import json
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# recipe, data file, published MSE and MAE (None: none), reach in percent (None: see the naive baselines)
ROWS = [
    *[(f"itransformer_etth1_{h}", "ETTh1.csv", p, 2) for h, p in zip((96, 192, 336, 720), ((.386, .405), (.441, .436), (.487, .458), (.503, .491)))],
    *[(f"itransformer_exchange_{h}", "exchange_rate.csv", p, 3) for h, p in zip((96, 192, 336, 720), ((.086, .206), (.177, .299), (.331, .417), (.847, .691)))],
    *[(f"timexer_etth1_{h}", "ETTh1.csv", p, 2) for h, p in zip((96, 192, 336, 720), ((.386, .403), (.437, .435), (.471, .453), (.515, .492)))],
    ("timexer_epf_np", "EPF_NP.csv", (.236, .268), 4),
    ("timexer_epf_pjm", "EPF_PJM.csv", (.093, .192), 4),
    *[(f"informer_etth1_{h}", "ETTh1.csv", p, 0) for h, p in zip((24, 48, 168), ((.577, .549), (.685, .625), (.931, .752)))],
    ("aquacast_pm25_24", "beijing_pm25.csv", None, None),
    ("performer_bilstm_pm25_24", "beijing_pm25.csv", None, None),
    ("tsfm_encoder_pm25_24", "beijing_pm25.csv", None, None),
]


def train(zoo, recipe, data, seed, out, extra):
    """The document of results.json, training first where it is missing."""
    results = out / "results.json"
    if not results.exists():
        command = [zoo, "train", str(ROOT / "recipes" / f"{recipe}.json"), "--set", f"data.path={data}", "--set", f"seed={seed}",
                   *extra, "--resume", str(out), "--json", "--log-level", "warn"]
        out.parent.mkdir(parents=True, exist_ok=True)
        with open(out.parent / f"{out.name}.log", "a") as log:
            code = subprocess.run(command, stdout=log, stderr=log, check=False).returncode
        if code != 0:
            return {"error": f"exit code {code}, see {out.parent / (out.name + '.log')}"}
    return json.loads(results.read_text())


def spread(values):
    return f"{statistics.mean(values):.3f} ± {statistics.pstdev(values):.3f}" if len(values) > 1 else f"{values[0]:.3f}"


def verdict(figures, published, reach):
    """Both means against the published figures, or against the better naive baseline."""
    worst = max(100 * (mean / paper - 1) for mean, paper in zip(figures, published))
    return f"{worst:+.1f} % {'(reached)' if worst <= reach else '(missed)'}"


def row(recipe, published, reach, documents):
    failed = [d["error"] for d in documents if "error" in d]
    if failed:
        return f"| {recipe} | {failed[0]} | | | | | |"
    tests = [d["metrics"]["test"] for d in documents]
    mse, mae = [t["mse"] for t in tests], [t["mae"] for t in tests]
    naive = {kind: figures for kind, figures in tests[0].get("naive", {}).items() if isinstance(figures, dict)}
    baseline = "; ".join(f"{kind} {figures['mse']:.3f}/{figures['mae']:.3f}" for kind, figures in naive.items())
    means = (statistics.mean(mse), statistics.mean(mae))
    if published:
        judged, paper = verdict(means, published, reach), f"{published[0]:.3f}/{published[1]:.3f}"
    else:
        best = (min(f["mse"] for f in naive.values()), min(f["mae"] for f in naive.values()))
        judged, paper = ("better than naive" if means[0] < best[0] else "NOT better than naive (MSE)"), "none"
    minutes = statistics.mean(d["seconds"] for d in documents) / 60
    return f"| {recipe} | {spread(mse)} | {spread(mae)} | {paper} | {judged} | {baseline} | {minutes:.1f} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "time_series")
    parser.add_argument("--zoo", default=str(ROOT / "build" / "zoo"))
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--only", default="", help="recipes whose name begins so; several joined by commas")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--extra", default="", help="more arguments of zoo train, such as '--device cuda --threads 1'")
    parser.add_argument("--json", type=Path, help="write all results to this file as well")
    args = parser.parse_args()
    seeds = [int(s) for s in args.seeds.split(",")]
    rows = [r for r in ROWS if not args.only or any(r[0].startswith(name) for name in args.only.split(","))]
    with ThreadPoolExecutor(args.jobs) as pool:
        jobs = {(r[0], s): pool.submit(train, args.zoo, r[0], args.data / r[1], s, args.runs / r[0] / f"seed-{s}", args.extra.split())
                for r in rows for s in seeds}
        results = {key: job.result() for key, job in jobs.items()}
    print(f"| recipe | MSE, {len(seeds)} seeds | MAE | published | worst difference of the means | naive on the same windows, MSE/MAE | minutes a run |")
    print("|---|---|---|---|---|---|---|")
    for recipe, _, published, reach in rows:
        print(row(recipe, published, reach, [results[recipe, s] for s in seeds]))
    if args.json:
        args.json.write_text(json.dumps({f"{recipe}/{seed}": document for (recipe, seed), document in results.items()}, indent=1))
    sys.exit(any("error" in document for document in results.values()))


if __name__ == "__main__":
    main()
