// Forecasting with the real program: train, eval, run, and what goes wrong.
#include <cmath>

#include "models/registry.h"
#include "tests/catch.h"
#include "tests/cli/program.h"
#include "tests/external.h"

namespace cli_forecasting_tests {
using zoo::test::data_folder;
using zoo::test::file_text;
using zoo::test::has;
using zoo::test::Outcome;
using zoo::test::quoted;
using zoo::test::Scratch;
using zoo::test::zoo_program;

// Three columns that repeat every 24 hours, each a little later, over a slow rise.
std::string waves(int rows, const std::string& names = "load,wind,price", int first = 0) {
  std::string text = "date," + names + "\n";
  for (int i = first; i < first + rows; ++i) {
    const int day = i / 24;
    char date[64];
    std::snprintf(date, sizeof date, "2020-%02d-%02d %02d:00:00", 1 + day / 28, 1 + day % 28, i % 24);
    text += date;
    for (int c = 0; c < 3; ++c) text += "," + std::to_string(10.0 * c + std::sin(2 * 3.14159265 * (i + 4 * c) / 24) + 0.001 * i);
    text += "\n";
  }
  return text;
}

// 28 days of 24 hours, so that the dates have no gap before a month ends: rows stay below 28 * 24.
constexpr const char* kTrain =
    "train --model itransformer:tiny --task forecasting --epochs 6 --batch-size 16 --lr 5e-3 --seed 1 --validation-split validation "
    "--set options.lookback=24 --set options.horizon=12 --json ";

TEST_CASE("the naive baselines of ETTh1 and of the exchange rates are the known ones", "[cli]") {
  const auto data = data_folder();
  NEEDS(data && std::filesystem::exists(*data / "forecasting"), "forecasting/ETTh1.csv and exchange_rate.csv in $ZOO_DATA or ../shared/data");
  struct Known { const char *variant, *file, *options; double mse, mae; };
  const Known table[] = {{"etth1_96", "ETTh1.csv", "split=ett", 1.294, 0.713},          {"etth1_96", "ETTh1.csv", "split=ett --option drop_last=32", 1.295, 0.713},
                         {"etth1_192", "ETTh1.csv", "split=ett", 1.325, 0.733},         {"etth1_192", "ETTh1.csv", "split=ett --option drop_last=32", 1.325, 0.733},
                         {"exchange_96", "exchange_rate.csv", "split=ratio", 0.081, 0.196},  {"exchange_192", "exchange_rate.csv", "split=ratio", 0.167, 0.289},
                         {"exchange_336", "exchange_rate.csv", "split=ratio", 0.306, 0.398}, {"exchange_720", "exchange_rate.csv", "split=ratio", 0.810, 0.676},
                         {"exchange_336", "exchange_rate.csv", "split=ratio --option drop_last=32", 0.305, 0.396},
                         {"exchange_720", "exchange_rate.csv", "split=ratio --option drop_last=32", 0.823, 0.681}};
  for (const auto& known : table) {
    INFO(known.variant << " " << known.options);
    const Outcome seen = zoo_program("eval itransformer:" + std::string(known.variant) + " --data " + quoted(*data / "forecasting" / known.file) + " --option " + known.options + " --json");
    REQUIRE(seen.code == 0);
    const auto last = seen.json().at("metrics").at("naive").at("last");
    CHECK(std::round(1000 * last.at("mse").get<double>()) == std::round(1000 * known.mse));
    CHECK(std::round(1000 * last.at("mae").get<double>()) == std::round(1000 * known.mae));
  }
}

TEST_CASE("a series: train, eval, run, look back", "[cli]") {
  const Scratch scratch;
  const auto file = scratch.write("waves.csv", waves(600)), out = scratch / "out";
  const Outcome trained = zoo_program(kTrain + ("--data " + quoted(file) + " --out " + quoted(out)));
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  const auto metrics = trained.json().at("metrics").at("test");
  CHECK(metrics.at("samples") == 120 - 12 + 1);
  CHECK(metrics.at("mse").get<double>() < 0.5 * metrics.at("naive").at("last").at("mse").get<double>());
  CHECK(has(trained.err, "split by ratio: 420 / 60 / 120 rows"));
  CHECK_FALSE(has(file_text(out / "config.json"), "id2label"));  // columns are no classes

  const Outcome measured = zoo_program("eval " + quoted(out) + " --data " + quoted(file) + " --json");
  INFO(measured.err);
  REQUIRE(measured.code == 0);
  for (const char* key : {"mse", "mae", "rmse", "mase"})
    CHECK(measured.json().at("metrics").at(key).get<double>() == Approx(metrics.at(key).get<double>()).epsilon(1e-5));
  const Outcome shorter = zoo_program("eval " + quoted(out) + " --data " + quoted(file) + " --option drop_last=32 --json");
  CHECK(shorter.json().at("samples") == 96);
  CHECK(has(zoo_program("eval " + quoted(out) + " --data " + quoted(file)).out, "last value"));

  const auto csv = scratch / "forecast.csv";
  const Outcome told = zoo_program("run " + quoted(out) + " --input " + quoted(file) + " --out " + quoted(csv));
  INFO(told.err);
  REQUIRE(told.code == 0);
  CHECK(has(told.err, "was trained on waves.csv (3 columns: load, wind, price; step 1 hour)"));
  const std::string text = file_text(csv);
  CHECK(text.starts_with("date,load,wind,price\n2020-01-26 00:00:00,"));
  CHECK(std::count(text.begin(), text.end(), '\n') == 13);
  CHECK(has(file_text(scratch / "forecast.svg"), "<svg xmlns"));
  const Outcome again = zoo_program("run " + quoted(out) + " --input " + quoted(file) + " --out " + quoted(csv));
  CHECK(again.code == 2);
  CHECK(file_text(csv) == text);

  const Outcome past = zoo_program("run " + quoted(out) + " --input " + quoted(file) + " --backtest 5 --out " + quoted(scratch / "past.csv") + " --json");
  INFO(past.err);
  REQUIRE(past.code == 0);
  CHECK(past.json().at("backtest").size() == 5);
  CHECK(past.json().at("metrics").at("mse").get<double>() < past.json().at("metrics").at("naive").at("last").at("mse").get<double>());
  CHECK(past.json().at("trained_on").at("train_to") == "2020-01-18 11:00:00");
  CHECK(has(file_text(scratch / "past.csv"), "origin,date,load,load_actual,wind,wind_actual,price,price_actual"));
}

TEST_CASE("a series that does not fit the network is refused with what to do", "[cli]") {
  const Scratch scratch;
  const auto file = scratch.write("waves.csv", waves(300)), out = scratch / "out";
  const Outcome trained = zoo_program(kTrain + ("--max-steps 2 --data " + quoted(file) + " --out " + quoted(out)));
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  const auto says = [&](const std::string& verb, const std::string& text, const std::string& part) {
    const auto other = scratch.write("other.csv", text);
    const Outcome outcome = zoo_program(verb == "run" ? "run " + quoted(out) + " --input " + quoted(other) : "eval " + quoted(out) + " --data " + quoted(other));
    INFO(part << "\n" << outcome.err);
    CHECK(outcome.code != 0);
    CHECK(has(outcome.err, part));
    CHECK(outcome.out.empty());
  };
  says("run", waves(100, "load,wind,prise"), "the network was trained on: load, wind, price");
  says("eval", waves(100, "load,wind,prise"), "the file has: date, load, wind, prise");
  says("run", waves(10), "10 rows; the network reads the last 24");
  says("eval", waves(40), "--split all");
  std::string text = waves(100);
  text.replace(text.find("2020-01-01 05:00"), 16, "2020-01-01 04:00");
  says("run", text, "is that of line 6 already");
  text = waves(100);
  text.replace(text.find("2020-01-01 05:00"), 16, "2019-01-01 04:00");
  says("run", text, "rows must be in the order of time (the option sort=true");
  says("run", waves(100) + "2020-02-01 00:00:00,1,x,2\n", "column 'wind': 'x' is not a number");
  // Finite, but float32 arithmetic would make infinities of it.
  for (const char* verb : {"run", "eval"}) says(verb, waves(100) + "2020-02-01 00:00:00,1,1e39,2\n", "column 'wind' at 2020-02-01 00:00:00 is 1e+39");
  says("run", waves(100) + "2020-02-01 00:00:00,1,\"2,5\",2\n", "decimals are written with a point");
  says("run", "\x1F\x8B" + waves(100), "is packed by gzip");
  text = waves(300);
  const auto cell = text.find("2020-01-01 05:00:00,") + 20;
  text.replace(cell, text.find(',', cell) - cell, "1e308");
  const Outcome large = zoo_program(kTrain + ("--max-steps 2 --data " + quoted(scratch.write("large.csv", text)) + " --out " + quoted(scratch / "never")));
  INFO(large.err);
  CHECK(large.code == 2);
  CHECK(has(large.err, "column 'load' holds values up to 1e+308"));
  const Outcome late = zoo_program(kTrain + ("--max-steps 2 --data " + quoted(scratch.write("late.csv", waves(300) + "2020-02-01 00:00:00,1,1e39,2\n")) + " --out " + quoted(scratch / "never")));
  CHECK(late.code == 2);
  CHECK(has(late.err, "column 'wind' at 2020-02-01 00:00:00 is 1e+39"));
  CHECK_FALSE(std::filesystem::exists(scratch / "never"));
  CHECK(has(zoo_program("run itransformer:tiny --input " + quoted(file)).err, "was not trained on series"));
  CHECK(has(zoo_program("run " + quoted(out) + " --input /nowhere.csv").err, "/nowhere.csv: no such file"));
  CHECK(has(zoo_program("run " + quoted(out) + " --input " + quoted(file) + " --backtest 100").err, "the file has 300"));
  CHECK(has(zoo_program("run " + quoted(out) + " --input " + quoted(file) + " --out " + quoted(file) + " --overwrite").err, "is the input file"));
  const Outcome daily = zoo_program("run " + quoted(out) + " --input " + quoted(scratch.write("daily.csv", [] {
    std::string lines = "date,load,wind,price\n";
    for (int i = 0; i < 28; ++i) lines += "2020-01-" + std::to_string(i + 1) + "," + std::to_string(i) + ",11,21\n";
    return lines;
  }())));
  CHECK(daily.code == 0);
  CHECK(has(daily.err, "its step is 1 day; the network was trained on steps of 1 hour"));
  CHECK(has(daily.out, "\n2020-01-29,"));
}

}  // namespace cli_forecasting_tests
