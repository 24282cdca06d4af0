// Runs read back, figures over seeds, runs side by side, what papers say.
#include "app/report/comparison.h"

#include "app/cli.h"
#include "app/engine/evaluation_cache.h"
#include "app/engine/seeds.h"
#include "app/report/evaluation_table.h"
#include "app/report/published.h"
#include "app/report/svg.h"
#include "tests/catch.h"
#include "tests/cli/program.h"

namespace zoo::test::comparison {
using namespace zoo::app;
namespace fs = std::filesystem;

// A finished run: two steps, one epoch, a final mse.
void write_run(const Scratch& scratch, const std::string& name, int seed, double lr, double mse) {
  const Json recipe = {{"model", "m"}, {"optimizer", {{"name", "adamw"}, {"lr", lr}}}, {"seed", seed}};
  scratch.write(name + "/recipe.json", recipe.dump());
  scratch.write(name + "/log.jsonl",
                "{\"step\":1,\"epoch\":0.5,\"loss\":2,\"lr\":0.1,\"gradient_norm\":3,\"seconds\":1}\n"
                "{\"step\":2,\"epoch\":1,\"loss\":1,\"lr\":0.1,\"gradient_norm\":null,\"seconds\":2}\n"
                "{\"epoch\":1,\"step\":2,\"train_loss\":1.5,\"seconds\":2,\"validation\":{\"mse\":" + std::to_string(mse + 1) + "}}\n"
                "{\"final\":{\"mse\":" + std::to_string(mse) + ",\"samples\":7}}\n");
  scratch.write(name + "/results.json", R"({"steps": 2, "seconds": 2.5, "metrics": {"mse": 0, "test": {"mse": 0}}})");
}

TEST_CASE("which way figures are better, and how they read", "[report]") {
  CHECK(better("validation.macro_f1") == Better::higher);
  CHECK(better("mse") == Better::lower);
  CHECK(better("naive.last.mae") == Better::lower);
  CHECK(better("samples") == Better::unknown);
  CHECK(better("gloss") == Better::unknown);  // ends in "loss", which is no word of its own here
  CHECK(figure_text(0.38614) == "0.3861");
  CHECK(figure_text(7) == "7");
  CHECK(figure_text(1.0) == "1.0000");
  CHECK(figure_text(0.00012344) == "0.0001234");
  const Spread three = spread({1, 2, 3});
  CHECK(three.mean == Approx(2));
  CHECK(three.deviation == Approx(1));  // n - 1
  CHECK(spread_text(spread({0.5})) == "0.5000");
  CHECK(spread_text(spread({0.5, 0.5})) == "0.5000");
  CHECK(spread_text(spread({0.5, 0.501})) == "0.5005 ± 0.0007");
  CHECK(figure(Json{{"naive", {{"last", {{"mse", 2.5}}}}}}, "naive.last.mse") == 2.5);
}

TEST_CASE("seeds of one recipe stand together, and the best group is marked", "[report]") {
  const Scratch scratch;
  write_run(scratch, "slow/seed-1", 1, 0.1, 0.5);
  write_run(scratch, "slow/seed-2", 2, 0.1, 0.7);
  write_run(scratch, "slow/seed-10", 10, 0.1, 0.9);
  write_run(scratch, "fast", 1, 0.2, 0.4);
  const auto runs = read_runs({(scratch / "slow").string() + "/", (scratch / "fast").string()});
  REQUIRE(runs.size() == 4);
  CHECK(fs::path(runs[2].name).filename() == "seed-10");
  CHECK(runs[0].history.steps.size() == 2);
  CHECK(std::isnan(runs[0].history.steps[1].gradient_norm));
  CHECK(runs[0].metrics.at("mse") == 0.5);  // what was measured at the end, not results.json's copy of it

  const Comparison together = compare_runs(runs, false);
  REQUIRE(together.groups.size() == 2);
  CHECK(together.groups[0].name == "slow");
  REQUIRE(together.settings.size() == 2);
  CHECK(together.settings[0].key == "optimizer.lr");
  CHECK(together.settings[0].values == std::vector<std::string>{"0.1", "0.2"});
  CHECK(together.settings[1].values == std::vector<std::string>{"[1,2,10]", "1"});
  REQUIRE(together.figures[0].metric == "mse");
  CHECK(together.figures[0].values[0].mean == Approx(0.7));
  CHECK(together.figures[0].values[0].deviation == Approx(0.2));
  CHECK(together.figures[0].best == size_t{1});
  CHECK(has(comparison_table(together).text(), "0.7000 ± 0.2000"));
  CHECK(has(comparison_table(together).text(), "0.4000 *"));
  CHECK(has(comparison_rows(together).csv(), "mse deviation"));
  CHECK(comparison_json(together).at("best").at("mse") == "fast");
  const std::string page = comparison_page(together);
  CHECK(has(page, "validation mse"));
  CHECK(std::count(page.begin(), page.end(), '\n') > 10);

  CHECK(compare_runs(runs, true).groups.size() == 4);
  CHECK_FALSE(compare_runs({runs[0]}, false).figures[0].best);  // nothing to be better than
}

TEST_CASE("the same seed twice is one sample, the latest", "[report]") {
  const Scratch scratch;
  write_run(scratch, "first", 1, 0.1, 0.5);
  write_run(scratch, "again", 1, 0.1, 0.9);
  write_run(scratch, "other", 2, 0.1, 0.3);
  write_run(scratch, "unfinished", 2, 0.1, 0.1);
  fs::remove(scratch / "unfinished/results.json");
  const auto now = fs::last_write_time(scratch / "first/log.jsonl");
  fs::last_write_time(scratch / "again/log.jsonl", now + std::chrono::seconds(5));
  fs::last_write_time(scratch / "unfinished/log.jsonl", now + std::chrono::seconds(9));
  std::vector<std::string> folders;
  for (const char* name : {"again", "first", "unfinished", "other"}) folders.push_back((scratch / name).string());
  for (int turn = 0; turn < 2; ++turn) {  // whatever the order in which they are named
    const auto runs = read_runs(folders);
    const Comparison together = compare_runs(runs, false);
    REQUIRE(together.groups.size() == 1);
    CHECK(together.groups[0].runs.size() == 2);
    CHECK(together.figures[0].values[0].count == 2);
    CHECK(together.figures[0].values[0].mean == Approx(0.6));  // of "again" and the finished "other"
    const Json group = comparison_json(together).at("groups").at(0);
    CHECK(group.at("left_out").size() == 2);
    CHECK(has(group.at("left_out").dump(), "first"));
    CHECK(has(group.at("left_out").dump(), "unfinished"));
    CHECK(has(comparison_table(together).text(), "first (seed 1 again)"));
    CHECK(has(comparison_rows(together).csv(), "left out"));
    CHECK(has(comparison_page(together), "no second sample"));
    CHECK(compare_runs(runs, true).groups.size() == 4);
    std::reverse(folders.begin(), folders.end());
  }
}

TEST_CASE("a log that is torn, or holds anything at all, is read as far as it goes", "[report]") {
  const Scratch scratch;
  scratch.write("run/recipe.json", "{}");
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "[";
  scratch.write("run/log.jsonl", "{\"step\":3,\"loss\":1}\nnonsense\n[1]\n{\"loss\":" + deep + "\n{\"step\":\"x\",\"loss\":{}}\n"
                                 "{\"train_loss\":1,\"step\":-5,\"validation\":7}\n{\"step\":4,\"lo");
  const RunRecord run = read_run(scratch / "run");
  CHECK_FALSE(run.finished());
  REQUIRE(run.history.steps.size() == 2);
  CHECK(run.history.steps[0].step == 3);
  CHECK(run.history.epochs.size() == 1);
  CHECK(has(comparison_table(compare_runs({run}, false)).text(), "unfinished"));
  CHECK_FALSE(comparison_page(compare_runs({run}, false)).empty());
  CHECK_THROWS_AS(read_run(scratch / "nothing"), UsageError);
  scratch.write("bad/recipe.json", "[]");
  CHECK_THROWS_AS(read_run(scratch / "bad"), std::runtime_error);
}

TEST_CASE("a legend that does not fit beside the title stands below", "[report]") {
  Plot plot{"loss", "step", {{"a", {{0, 0}, {1, 1}}}, {"b", {{0, 1}, {1, 0}}}}};
  CHECK(has(draw_svg(plot), "height=\"260\""));
  for (int i = 0; i < 9; ++i) plot.series.push_back({"a rather long name of a run " + std::to_string(i), {{0, 0}, {1, 2}}});
  CHECK_FALSE(has(draw_svg(plot), "height=\"260\""));
  plot.series[0].name.clear();
  CHECK_FALSE(has(draw_svg(plot), ">a</text>"));
}

TEST_CASE("lists of seeds", "[report]") {
  CHECK(parse_seeds("1,2,3") == std::vector<uint64_t>{1, 2, 3});
  CHECK(parse_seeds("4-6,1") == std::vector<uint64_t>{4, 5, 6, 1});
  for (const char* wrong : {"", "1,,2", "1,1", "3-1", "x", "-1", "1-", "1.5", "0-99999999", "99999999999999999999"}) {
    INFO(wrong);
    CHECK_THROWS_AS(parse_seeds(wrong), UsageError);
  }
}

TEST_CASE("seeds are trained one by one; finished ones are kept and a failed one loses nothing", "[report]") {
  const Scratch scratch;
  std::vector<uint64_t> trained;
  const TrainOnce once = [&](const Recipe& recipe, const fs::path& out, RunFolder::Start) {
    trained.push_back(recipe.seed);
    if (recipe.seed == 2) throw std::runtime_error("the loss is nan");
    fs::create_directories(out);
    return TrainingResult{{{"metrics", {{"mse", static_cast<double>(recipe.seed)}, {"test", {{"mse", 1.0}}}}}}, recipe.seed == 9};
  };
  const auto result = train_seeds({Recipe(), {1, 2, 3}}, scratch / "out", RunFolder::Start::fresh, once);
  CHECK(trained == std::vector<uint64_t>{1, 2, 3});
  CHECK(result.json.at("finished") == 2);
  CHECK(result.json.at("failed") == 1);
  CHECK(result.json.at("metrics").at("mse").at("mean") == 2.0);
  CHECK(result.json.at("metrics").at("mse").at("deviation").get<double>() == Approx(std::sqrt(2.0)));
  CHECK(nlohmann::json::parse(file_text(scratch / "out/summary.json")).at("runs").at(1).at("error") == "the loss is nan");
  CHECK(has(seeds_table(result.json), "seed 3"));

  CHECK_THROWS_AS(train_seeds({Recipe(), {1}}, scratch / "out", RunFolder::Start::fresh, once), UsageError);
  CHECK_NOTHROW(train_seeds({Recipe(), {1}}, scratch / "out", RunFolder::Start::overwrite, once));
  scratch.write("out/thesis.tex", "");
  CHECK_THROWS_AS(train_seeds({Recipe(), {1}}, scratch / "out", RunFolder::Start::overwrite, once), UsageError);

  trained.clear();
  const auto stopped = train_seeds({Recipe(), {8, 9, 10}}, scratch / "other", RunFolder::Start::fresh, once);
  CHECK(stopped.interrupted);
  CHECK(trained == std::vector<uint64_t>{8, 9});
}

TEST_CASE("a paper's figure is found by data set and setting", "[report]") {
  const auto card = Json::parse(R"({"series": {"horizon": ["pred_len"]}, "published": [
    {"data": "ETTh1", "metric": "mse", "value": 0.386, "setting": {"horizon": 96}},
    {"data": "ETTh1", "metric": "mse", "value": 0.441, "setting": {"horizon": 192}},
    {"data": "ETTh1", "metric": "mae", "value": 0.405, "setting": {"horizon": 96, "features": "M"}}]})");
  CHECK(published_figures(card, {{"pred_len", 192}}, "etth1") == Json{{"mse", 0.441}});
  CHECK(published_figures(card, {{"pred_len", 96}, {"features", "M"}}, "ETTh1") == Json{{"mse", 0.386}, {"mae", 0.405}});
  CHECK(published_figures(card, {{"pred_len", 96}, {"features", "S"}}, "ETTh1").size() == 1);
  CHECK(published_figures(card, {{"pred_len", 96}}, "ETTh2").empty());
  CHECK(published_figures(Json::object(), {{"pred_len", 96}}, "ETTh1").empty());

  const auto results = Json::parse(R"([
    {"model": "a", "data_name": "ETTh1", "metrics": {"mse": 0.39, "naive": {"mse": 1}}, "published": {"mse": 0.386}, "samples": 5, "seconds": 1},
    {"model": "b", "data_name": "ETTh1", "error": "weights | do not fit"}])");
  const std::string markdown = evaluation_table(results, false).markdown();
  CHECK(has(markdown, "| checkpoint | data | mse | paper's mse | samples | time | error |"));
  CHECK(has(markdown, "| a | ETTh1 | 0.3900 | 0.3860 | 5 |"));
  CHECK(has(markdown, "weights \\| do not fit"));
  CHECK(has(evaluation_table(results, true).csv(), "naive.mse"));
}

TEST_CASE("the cache knows contents, not names or times", "[report]") {
  const Scratch scratch;
  scratch.write("net/model.safetensors", "weights");
  scratch.write("net/config.json", "{}");
  const auto identity = [&] { return EvaluationCache(scratch / "cache").checkpoint_identity(scratch / "net"); };
  const std::string first = identity();
  scratch.write("net/log.jsonl", "x");
  scratch.write("net/checkpoints/step-00000001/model.safetensors", "older");
  CHECK(identity() == first);  // what a training leaves beside a network is no part of it
  fs::rename(scratch / "net", scratch / "moved");
  CHECK(EvaluationCache(scratch / "cache").checkpoint_identity(scratch / "moved") == first);
  fs::rename(scratch / "moved", scratch / "net");
  const auto time = fs::last_write_time(scratch / "net/model.safetensors");
  scratch.write("net/model.safetensors", "weighty");  // same size, and the time put back
  fs::last_write_time(scratch / "net/model.safetensors", time);
  CHECK(identity() != first);
  scratch.write("net/model.safetensors", "weights");
  CHECK(identity() == first);
  // An adapter's base is part of it.
  scratch.write("base/config.json", "{}");
  scratch.write("base/model.safetensors", "base");
  scratch.write("adapter/adapter_config.json", Json{{"base_model_name_or_path", (scratch / "base").string()}, {"peft_type", "LORA"}}.dump());
  scratch.write("adapter/adapter_model.safetensors", "small");
  const auto adapted = [&] { return EvaluationCache(scratch / "cache").checkpoint_identity(scratch / "adapter"); };
  const std::string before = adapted();
  CHECK(adapted() == before);
  scratch.write("base/model.safetensors", "other base");
  CHECK(adapted() != before);

  EvaluationCache cache(scratch / "cache");
  const Json key = {{"model", first}, {"data", "d"}};
  CHECK_FALSE(cache.find(key));
  cache.store(key, {{"metrics", {{"mse", 1}}}});
  REQUIRE(cache.find(key));
  CHECK(cache.find(key)->at("metrics").at("mse") == 1);
  CHECK_FALSE(cache.find({{"model", first}, {"data", "e"}}));
  for (const auto& item : fs::directory_iterator(scratch / "cache")) std::ofstream(item.path(), std::ios::trunc) << "{";
  CHECK_FALSE(EvaluationCache(scratch / "cache").find(key));
}

}  // namespace zoo::test::comparison
