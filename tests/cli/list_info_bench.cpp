#include "tests/catch.h"
#include "tests/cli/program.h"

namespace zoo::test::list_info {

TEST_CASE("list: wildcards, words of the title, filters", "[cli]") {
  const auto names = [](const std::string& arguments) {
    std::string found;
    const auto document = zoo_program("list --json " + arguments).json();
    for (const auto& network : document.at("networks")) found += network.at("name").get<std::string>() + " ";
    return " " + found;
  };
  CHECK(has(names("'b?rt'"), " bert "));
  CHECK(!has(names("'b?rt'"), " vit "));
  CHECK(has(names("compact"), " cct "));
  CHECK(has(names("--task image_classification"), " vit "));
  CHECK(!has(names("--task image_classification"), " bert "));
  CHECK(has(names("--family text"), " bert "));
  const auto none = zoo_program("list 'zzz*'");
  CHECK(none.code == 1);
  CHECK(has(none.err, "nearest names"));
}

TEST_CASE("list: parameter counts are the published ones", "[cli]") {
  const auto document = zoo_program("list bert --json").json();
  for (const auto& network : document.at("networks")) {
    if (network.at("name") != "bert") continue;
    for (const auto& variant : network.at("variants")) {
      if (variant.at("name") == "base") CHECK(variant.at("parameters") == 109482240);
      if (variant.at("name") == "large") CHECK(variant.at("parameters") == 335141888);
    }
  }
  CHECK(document.at("count").get<int>() >= 1);
  const auto parameters = [](const std::string& name, const std::string& variant) {
    const auto found = zoo_program("list " + name + " --json").json();
    for (const auto& item : found.at("networks").at(0).at("variants")) {
      if (item.at("name") == variant) return item.at("parameters").get<int64_t>();
    }
    return int64_t{0};
  };
  CHECK(parameters("resnet", "resnet_50") == 25557032);
  CHECK(parameters("swin", "swin_t_window7_224") == 28288354);
}

TEST_CASE("list: counts kept from an earlier run are the same ones, and only this program's are used", "[cli]") {
  const Scratch cache;
  const auto listed = [&] { return zoo_program("list bert --json", "XDG_CACHE_HOME=" + quoted(cache.path()) + " ").json(); };
  const auto counted = listed();
  const auto kept = nlohmann::json::parse(file_text(cache / "zoo/sizes.json"));
  CHECK(listed() == counted);
  auto changed = kept;
  changed["parameters"]["bert:base"] = 1;
  cache.write("zoo/sizes.json", changed.dump());
  CHECK(listed() != counted);  // so the file is what was read
  changed["program"] = "another";
  cache.write("zoo/sizes.json", changed.dump());
  CHECK(listed() == counted);
  for (const std::string broken : {"", "{", "[1, 2]", R"({"program": 7})", R"({"parameters": {}})"}) {
    cache.write("zoo/sizes.json", broken);
    CHECK(listed() == counted);
  }
  auto wrong = kept;
  wrong["parameters"]["bert:base"] = "many";
  cache.write("zoo/sizes.json", wrong.dump());
  CHECK(listed() == counted);
}

TEST_CASE("docs/models.md is what list --markdown writes", "[cli]") {
  const auto outcome = zoo_program("list --markdown");
  REQUIRE(outcome.code == 0);
  INFO("run: zoo list --markdown > docs/models.md");
  CHECK(outcome.out == file_text(std::filesystem::path(ZOO_TEST_DIR).parent_path() / "docs" / "models.md"));
}

TEST_CASE("info: a network of the registry", "[cli]") {
  const auto document = zoo_program("info bert:tiny --json").json();
  CHECK(document.at("network") == "bert");
  uint64_t bytes = 0;
  for (const auto& tensor : document.at("tensors")) bytes += tensor.at("bytes").get<uint64_t>();
  CHECK(document.at("bytes") == bytes);
  CHECK(document.at("parameters").get<uint64_t>() * 4 == bytes);
  CHECK(document.at("memory").at("training").get<uint64_t>() == 4 * bytes);
  const auto text = zoo_program("info bert:tiny");
  CHECK(has(text.out, "encoder.layer.{0,1}.attention.self.query.weight"));
}

TEST_CASE("info: a bare file, and files that are none", "[cli]") {
  const Scratch scratch;
  std::string header = R"({"a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"n":{"dtype":"I64","shape":[],"data_offsets":[24,32]}})";
  header.append((8 - header.size() % 8) % 8, ' ');
  const uint64_t length = header.size();
  const std::string file = std::string(reinterpret_cast<const char*>(&length), 8) + header + std::string(32, '\1');
  const auto good = zoo_program("info --json " + scratch.write("good.safetensors", file).string());
  REQUIRE(good.code == 0);
  const auto document = good.json();
  CHECK(document.at("parameters") == 6);
  CHECK(document.at("bytes") == 32);
  CHECK(document.at("tensors").size() == 2);
  CHECK(document.at("files").size() == 1);
  for (const auto& bad : {file.substr(0, file.size() - 1), file.substr(0, 20), std::string("x"), std::string(200, '\xff')}) {
    const auto outcome = zoo_program("info " + scratch.write("bad.safetensors", bad).string());
    CHECK(outcome.code == 1);
    CHECK(has(outcome.err, "bad.safetensors"));
    CHECK(outcome.out.empty());
  }
}

TEST_CASE("doctor names versions, cores and kernels", "[cli]") {
  const auto document = zoo_program("doctor --json").json();
  CHECK(document.at("versions").at("libtorch").get<std::string>().rfind("2.", 0) == 0);
  CHECK(document.at("cpu").at("physical_cores").get<int>() >= 1);
  CHECK(document.at("memory").at("total").get<uint64_t>() > (1u << 28));
  CHECK(document.at("advice").is_array());
  CHECK(zoo_program("doctor").code == 0);
}

TEST_CASE("--threads is obeyed", "[cli]") {
  CHECK(zoo_program("doctor --json --threads 1").json().at("cpu").at("threads") == 1);
  CHECK(zoo_program("doctor --json", "ZOO_THREADS=3").json().at("cpu").at("threads") == 3);
}

TEST_CASE("bench: a grid in every format", "[cli]") {
  const auto outcome = zoo_program("bench bert:tiny cct:tiny --batch 1,2 --length 4,8 --repeat 2 --warmup 1 --json");
  REQUIRE(outcome.code == 0);
  const auto document = outcome.json();
  REQUIRE(document.at("results").size() == 2 * 2 + 2);  // cct has no length
  for (const auto& result : document.at("results")) {
    CHECK(result.at("runs") == 2);
    CHECK(result.at("mean_seconds").get<double>() > 0);
    CHECK(result.at("throughput").get<double>() == Approx(result.at("batch").get<double>() / result.at("mean_seconds").get<double>()));
    CHECK(result.at("peak_bytes").get<uint64_t>() > 0);
  }
  CHECK(document.at("environment").at("threads").get<int>() >= 1);
  CHECK(has(zoo_program("bench vit:tiny --device cpu --repeat 1 --warmup 0 --markdown").out, "| vit:tiny | cpu | float32 |"));
  CHECK(has(zoo_program("bench vit:tiny --device cpu --repeat 1 --warmup 0 --csv --mode training").out, "vit:tiny,cpu,float32,1,32,"));
  const auto any_size = zoo_program("bench resnet:tiny --size 24,40 --repeat 1 --warmup 0 --json").json().at("results");
  CHECK(any_size.at(0).at("size") == 24);
  CHECK(any_size.at(1).at("size") == 40);
  CHECK(zoo_program("bench resnet:tiny --repeat 1 --warmup 0 --json").json().at("results").at(0).at("size") == 224);  // what its preprocessor makes
  const auto too_long = zoo_program("bench bert:tiny --length 100000 --repeat 1 --json");
  CHECK(too_long.code == 1);
  CHECK(has(too_long.json().at("results")[0].at("error").get<std::string>(), "positions"));
}

}  // namespace zoo::test::list_info
