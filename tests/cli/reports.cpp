// zoo compare, zoo train --seeds, zoo eval of several networks and data sets, with the real program.
#include <ATen/ATen.h>
#include <random>

#include "data/image.h"
#include "tests/catch.h"
#include "tests/cli/program.h"

namespace cli_reports_tests {
using zoo::test::file_text;
using zoo::test::has;
using zoo::test::Outcome;
using zoo::test::quoted;
using zoo::test::Scratch;
using zoo::test::zoo_program;
namespace fs = std::filesystem;

// Pictures bright above or below; `seed` makes another set of the same kind.
void write_pictures(const Scratch& scratch, const std::string& name, unsigned seed) {
  std::mt19937 random(seed);
  for (const std::string split : {"train", "test"}) {
    for (const std::string kind : {"above", "below"}) {
      for (int i = 0; i < 8; ++i) {
        const at::Tensor picture = at::empty({8, 8, 3}, at::kByte);
        for (int64_t k = 0; k < picture.numel(); ++k) {
          const bool bright = (k < picture.numel() / 2) == (kind == "above");
          picture.data_ptr<uint8_t>()[k] = static_cast<uint8_t>(random() % 90 + (bright ? 150 : 0));
        }
        scratch.write(name + "/" + split + "/" + kind + "/" + std::to_string(i) + ".png", zoo::data::encode_png(picture));
      }
    }
  }
}

Outcome train(const Scratch& scratch, const std::string& more) {
  return zoo_program("train --model cct:tiny --task image_classification --validation-share 0.25 --epochs 2 --batch-size 4 --threads 1 --data " +
                     quoted(scratch / "set") + " " + more);
}

TEST_CASE("seeds are trained, summed up, resumed and compared", "[cli]") {
  NEEDS(zoo::data::image_files_supported(), "a build with OpenCV");
  const Scratch scratch;
  write_pictures(scratch, "set", 1);
  const Outcome seeds = train(scratch, "--lr 1e-3 --seeds 1-2 --json --out " + quoted(scratch / "seeds"));
  INFO(seeds.err);
  REQUIRE(seeds.code == 0);
  const auto summary = seeds.json();
  CHECK(summary.at("finished") == 2);
  CHECK(summary.at("metrics").at("accuracy").at("values").size() == 2);
  CHECK(summary == nlohmann::json::parse(file_text(scratch / "seeds/summary.json")));
  CHECK(fs::exists(scratch / "seeds/seed-2/model.safetensors"));
  CHECK(file_text(scratch / "seeds/seed-1/model.safetensors") != file_text(scratch / "seeds/seed-2/model.safetensors"));

  const auto written = fs::last_write_time(scratch / "seeds/seed-1/model.safetensors");
  const std::string again = "train --resume " + quoted(scratch / "seeds");  // the folder knows the recipe
  const Outcome more = zoo_program(again + " --seeds 1,2,3");
  INFO(more.err);
  REQUIRE(more.code == 0);
  CHECK(has(more.out, "seed 3"));
  CHECK(has(more.out, "3 of 3 seeds"));
  CHECK(fs::last_write_time(scratch / "seeds/seed-1/model.safetensors") == written);
  CHECK(has(zoo_program(again).out, "3 of 3 seeds"));
  const Outcome fewer = zoo_program(again + " --seeds 1");
  CHECK(fewer.code == 2);
  CHECK(has(fewer.err, "begun with 1,2,3"));
  const Outcome other = zoo_program(again + " --lr 1e-2");
  CHECK(other.code == 2);
  CHECK(has(other.err, "optimizer.lr: 0.001 -> 0.01"));
  CHECK(zoo_program("train --seeds 1 --resume " + quoted(scratch / "seeds/seed-1")).code == 2);  // one training
  CHECK(zoo_program(again + " --processes 2").code == 2);
  CHECK(train(scratch, "--lr -1 --seeds 1 --out " + quoted(scratch / "none")).code == 2);
  CHECK_FALSE(fs::exists(scratch / "none"));
  CHECK(train(scratch, "--seeds 1,x --out " + quoted(scratch / "other")).code == 2);
  CHECK(train(scratch, "--seeds 1 --out " + quoted(scratch / "seeds")).code == 2);

  REQUIRE(train(scratch, "--lr 1e-2 --seed 1 --out " + quoted(scratch / "other")).code == 0);
  CHECK_FALSE(fs::is_empty(scratch / "other/tensorboard"));
  const std::string page = file_text(scratch / "other/report.html");
  for (const char* part : {"gradient norm", "learning rate", "validation accuracy", "Figures on test", "peak memory", "element type"}) {
    INFO(part);
    CHECK(has(page, part));
  }
  const std::string both = "compare " + quoted(scratch / "seeds") + " " + quoted(scratch / "other");
  const Outcome text = zoo_program(both + " --out " + quoted(scratch / "compared.html"));
  INFO(text.err << text.out);
  REQUIRE(text.code == 0);
  CHECK(has(text.out, "optimizer.lr"));
  CHECK(has(text.out, "±"));
  CHECK(has(text.out, "3 of 3 finished"));
  CHECK(has(file_text(scratch / "compared.html"), "validation accuracy"));
  CHECK(zoo_program(both + " --json").json().at("groups").size() == 2);
  CHECK(zoo_program(both + " --json --each").json().at("groups").size() == 4);
  CHECK(has(zoo_program(both + " --csv").out, "accuracy deviation"));
  CHECK(has(zoo_program(both + " --markdown").out, "| accuracy |"));
  CHECK(zoo_program(both + " --out " + quoted(scratch / "compared.html")).code == 2);
  CHECK(zoo_program("compare " + quoted(scratch / "set")).code == 2);
}

TEST_CASE("several networks on several data sets: a table, a cache, errors of their own", "[cli]") {
  NEEDS(zoo::data::image_files_supported(), "a build with OpenCV");
  const Scratch scratch;
  write_pictures(scratch, "set", 1);
  write_pictures(scratch, "second", 2);
  REQUIRE(train(scratch, "--out " + quoted(scratch / "a")).code == 0);
  fs::copy(scratch / "a", scratch / "broken", fs::copy_options::recursive);
  scratch.write("broken/model.safetensors", "no weights");
  const std::string cache = " --cache " + quoted(scratch / "cache");
  const std::string pairs = "eval " + quoted(scratch / "a") + " " + quoted(scratch / "broken") + " --data " + quoted(scratch / "set") + " --data other=" +
                            quoted(scratch / "second") + " --data " + quoted(scratch / "absent") + cache;
  const std::string tables = " --table " + quoted(scratch / "t.md") + " --table " + quoted(scratch / "t.csv") + " --table " + quoted(scratch / "t.json");
  const Outcome first = zoo_program(pairs + tables + " --json");
  INFO(first.err);
  CHECK(first.code == 1);
  const auto document = first.json();
  REQUIRE(document.at("results").size() == 6);
  CHECK(document.at("measured") == 2);
  CHECK(document.at("failed") == 4);
  CHECK(document.at("results")[0].at("metrics").contains("accuracy"));
  CHECK(document.at("results")[1].at("data_name") == "other");
  CHECK(has(document.at("results")[2].at("error").get<std::string>(), "no such file"));
  CHECK(has(document.at("results")[3].at("error").get<std::string>(), "model.safetensors"));
  CHECK(has(file_text(scratch / "t.md"), "| checkpoint | data |"));
  CHECK(has(file_text(scratch / "t.csv"), "checkpoint,data,"));
  CHECK(nlohmann::json::parse(file_text(scratch / "t.json")) == document);

  const auto again = zoo_program(pairs + " --json").json();
  CHECK(again.at("measured") == 0);
  CHECK(again.at("cached") == 2);
  CHECK(again.at("results")[0].at("metrics") == document.at("results")[0].at("metrics"));
  CHECK(zoo_program(pairs + " --json --no-cache").json().at("measured") == 2);
  CHECK(zoo_program(pairs + " --json --batch-size 3").json().at("measured") == 2);
  scratch.write("set/test/above/0.png", file_text(scratch / "set/test/above/1.png"));
  CHECK(zoo_program(pairs + " --json").json().at("measured") == 1);  // the set that changed

  CHECK(zoo_program(pairs + " --table " + quoted(scratch / "t.md")).code == 2);
  CHECK(zoo_program(pairs + " --table " + quoted(scratch / "t.xls")).code == 2);
  const auto one = zoo_program("eval " + quoted(scratch / "a") + " --data " + quoted(scratch / "second") + " --json").json();
  CHECK(one.at("metrics") == document.at("results")[1].at("metrics"));
}

}  // namespace cli_reports_tests
