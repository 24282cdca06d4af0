#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>

#include "tests/unit/weights_helpers.h"
#include "weights/checkpoint.h"
#include "weights/safetensors.h"

namespace zoo::weights::testing::safetensors {

// The error of opening a file with this header and data.
std::string header_error(const std::string& header, const std::string& data = "") {
  TempFolder folder;
  write_bytes(folder / "x.safetensors", safetensors_bytes(header, data));
  return error_of([&] { Checkpoint::open(folder / "x.safetensors"); });
}

std::string tensor(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
}

TEST_CASE("every element type survives writing and reading", "[weights]") {
  TempFolder folder;
  NamedTensors tensors;
  for (auto type :
       {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16, at::kLong, at::kInt, at::kShort, at::kChar,
        at::kByte, at::kBool, at::kUInt16, at::kUInt32, at::kUInt64, at::kComplexFloat, at::kFloat8_e4m3fn,
        at::kFloat8_e5m2, at::kFloat8_e8m0fnu, at::kFloat8_e4m3fnuz, at::kFloat8_e5m2fnuz}) {
    tensors.emplace_back(c10::toString(type),
                         at::tensor({0.f, 1.f, 2.f, 1.f, 1.f, 2.f}).reshape({3, 2}).to(type));
  }
  tensors.emplace_back("scalar", at::scalar_tensor(2.5));
  tensors.emplace_back("empty", at::zeros({0, 4}));
  save_safetensors(folder / "x.safetensors", tensors, {{"note", "grüße"}});

  const Checkpoint read = Checkpoint::open(folder / "x.safetensors");
  CHECK(read.tensors().size() == tensors.size());
  CHECK(read.metadata().at("format") == "pt");
  CHECK(read.metadata().at("note") == "grüße");
  for (const auto& [name, written] : tensors) {
    INFO(name);
    const at::Tensor back = read.get(name);
    REQUIRE(back.scalar_type() == written.scalar_type());
    REQUIRE(back.sizes() == written.sizes());
    CHECK(same_bytes(back, written));
  }
}

TEST_CASE("a file of the safetensors package reads as its values", "[weights]") {
  const Checkpoint read = Checkpoint::open(fixture("dtypes.safetensors"));
  CHECK(read.tensors().size() == 17);
  CHECK(read.metadata().at("note") == "grüße");
  for (const TensorInfo& info : read.tensors()) {
    INFO(info.name);
    const at::Tensor values = read.get(info.name);
    const float zero = info.name == "float8_e8m0fnu" ? values.to(at::kFloat).flatten()[0].item<float>() : 0;
    const at::Tensor expected = at::tensor({zero, 1.f, 2.f, 1.f}).reshape({2, 2});
    CHECK(at::equal(values.to(values.is_complex() ? at::kComplexFloat : at::kFloat),
                    (info.name == "bool" ? expected.clamp_max(1) : expected)
                        .to(values.is_complex() ? at::kComplexFloat : at::kFloat)));
  }
}

TEST_CASE("tensors are views that may be changed without touching the file", "[weights]") {
  TempFolder folder;
  save_safetensors(folder / "x.safetensors", NamedTensors{{"a", at::ones({1000})}, {"b", at::zeros({3})}});
  const std::string before = read_bytes(folder / "x.safetensors");
  at::Tensor a;
  {
    const Checkpoint read = Checkpoint::open(folder / "x.safetensors");
    CHECK(read.get("a").data_ptr() == read.get("a").data_ptr());
    a = read.get("a");
  }
  a.add_(1);  // the checkpoint is gone, the mapping is not
  CHECK(a.sum().item<float>() == 2000);
  CHECK(read_bytes(folder / "x.safetensors") == before);
  CHECK(Checkpoint::open(folder / "x.safetensors").get("a").sum().item<float>() == 1000);
}

TEST_CASE("tensors that are not aligned are copied", "[weights]") {
  TempFolder folder;
  const float values[2] = {1.5f, -2.f};
  const std::string data =
      std::string(1, '\7') + std::string(reinterpret_cast<const char*>(values), sizeof values);
  std::string header =
      "{\"a\":" + tensor("U8", "[1]", "[0,1]") + ",\"b\":" + tensor("F32", "[2]", "[1,9]") + "}";
  header.append((8 - header.size() % 8) % 8, ' ');
  write_bytes(folder / "x.safetensors", safetensors_bytes(header, data));
  const Checkpoint read = Checkpoint::open(folder / "x.safetensors");
  CHECK(read.get("a").item<int>() == 7);
  CHECK(reinterpret_cast<uintptr_t>(read.get("b").data_ptr()) % 4 == 0);
  CHECK(at::equal(read.get("b"), at::tensor({1.5f, -2.f})));
}

TEST_CASE("wide types are written first, so that all are aligned", "[weights]") {
  TempFolder folder;
  save_safetensors(folder / "x.safetensors", NamedTensors{{"flag", at::ones({3}, at::kBool)},
                                                          {"b", at::ones({2})},
                                                          {"a", at::ones({2})},
                                                          {"n", at::ones({1}, at::kLong)}});
  std::vector<std::string> order;
  for (const TensorInfo& info : Checkpoint::open(folder / "x.safetensors").tensors())
    order.push_back(info.name);
  CHECK(order == std::vector<std::string>{"n", "b", "a", "flag"});
}

TEST_CASE("lying safetensors headers are refused with the reason", "[weights]") {
  const std::string eight(8, 'x');
  CHECK(contains(header_error("{\"a\":" + tensor("F32", "[2]", "[0,8]") + "}", "xxxx"),
                 "end beyond the 4 data bytes"));
  CHECK(contains(header_error("{\"a\":" + tensor("F32", "[2]", "[0,8]") + "}", eight + "x"),
                 "end at data byte 8"));
  CHECK(contains(header_error("{\"a\":" + tensor("F32", "[3]", "[0,8]") + "}", eight),
                 "does not take the 8 bytes"));
  CHECK(contains(
      header_error(
          "{\"a\":" + tensor("F32", "[1]", "[0,4]") + ",\"b\":" + tensor("F32", "[2]", "[0,8]") + "}", eight),
      "overlap"));
  CHECK(contains(header_error("{\"a\":" + tensor("F32", "[1]", "[4,8]") + "}", eight), "hole"));
  CHECK(contains(header_error("{\"a\":" + tensor("F32", "[1]", "[8,4]") + "}", eight), "backwards"));
  CHECK(contains(header_error("{\"a\":" + tensor("F32", "[-2]", "[0,8]") + "}", eight), "negative"));
  CHECK(contains(header_error("{\"a\":" + tensor("F32", "[2.5]", "[0,8]") + "}", eight), "2.5"));
  CHECK(contains(header_error("{\"a\":" + tensor("F32", "[4294967296,4294967296]", "[0,8]") + "}", eight),
                 "63 bits"));
  CHECK(contains(header_error("{\"a\":" + tensor("F64", "[2305843009213693953]", "[0,8]") + "}", eight),
                 "does not take"));
  CHECK(contains(header_error("{\"a\":" + tensor("F32", "[18446744073709551615]", "[0,8]") + "}", eight),
                 "63 bits"));
  CHECK(contains(header_error("{\"a\":" + tensor("Q4", "[2]", "[0,8]") + "}", eight),
                 "\"Q4\" is not supported (known: F64"));
  CHECK(contains(
      header_error(
          "{\"a\":" + tensor("F32", "[1]", "[0,4]") + ",\"a\":" + tensor("F32", "[1]", "[4,8]") + "}", eight),
      "\"a\" appears twice"));
  CHECK(contains(header_error("{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", eight),
                 "needs dtype, shape and data_offsets"));
  CHECK(contains(
      header_error("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
                   eight),
      "twice"));
  CHECK(contains(header_error("{\"a\":5}"), "holds a number"));
  CHECK(contains(header_error("[]"), "does not begin with \"{\""));
  CHECK(contains(header_error("{\"a\":"), "not valid JSON"));
  CHECK(contains(header_error("{\"a\":" + tensor("F32", "[[[[2]]]]", "[0,8]") + "}", eight), "holds a list"));
  CHECK(contains(header_error("{\"__metadata__\":{\"x\":1}}"), "__metadata__"));
  CHECK(contains(header_error("{\"\xff\":" + tensor("F32", "[2]", "[0,8]") + "}", eight), "not valid JSON"));
  CHECK(contains(
      header_error("{\"" + std::string(2000, 'n') + "\":" + tensor("F32", "[2]", "[0,8]") + "}", eight),
      "longer than 1024 bytes"));
}

TEST_CASE("truncated and oversized safetensors files are refused", "[weights]") {
  TempFolder folder;
  const auto path = folder / "x.safetensors";
  auto error = [&](const std::string& bytes) {
    write_bytes(path, bytes);
    return error_of([&] { Checkpoint::open(path); });
  };
  CHECK(contains(error(""), "the file is empty"));
  CHECK(contains(error("1234"), "4 bytes; a safetensors file has at least 8"));
  CHECK(contains(error(std::string("\xff\xff\xff\xff\xff\xff\xff\xff{", 9)), "above the format's limit"));
  CHECK(contains(error(safetensors_bytes(std::string(100, '{')).substr(0, 50)),
                 "header length 100 does not fit the file of 50 bytes"));
  CHECK(contains(error("version https://git-lfs.github.com/spec/v1\noid sha256:1\n"), "git lfs pull"));
  CHECK(contains(error_of([&] { Checkpoint::open(folder / "none.safetensors"); }), "no such file"));

  // Every prefix of a good file is refused, and none crashes.
  save_safetensors(path, NamedTensors{{"a", at::ones({4})}, {"b", at::ones({2}, at::kLong)}});
  const std::string whole = read_bytes(path);
  for (size_t length = 0; length < whole.size(); ++length) {
    INFO(length);
    CHECK_FALSE(error(whole.substr(0, length)).empty());
  }
}

TEST_CASE("an empty set of tensors is a valid file", "[weights]") {
  TempFolder folder;
  save_safetensors(folder / "x.safetensors", NamedTensors{});
  CHECK(Checkpoint::open(folder / "x.safetensors").tensors().empty());
}

TEST_CASE("bad tensors are not written", "[weights]") {
  TempFolder folder;
  const auto path = folder / "x.safetensors";
  CHECK(contains(
      error_of([&] { save_safetensors(path, NamedTensors{{"a", at::ones(1)}, {"a", at::ones(1)}}); }),
      "given twice"));
  CHECK(contains(error_of([&] { save_safetensors(path, NamedTensors{{"\xff", at::ones(1)}}); }), "UTF-8"));
  CHECK(contains(
      error_of([&] { save_safetensors(path, NamedTensors{{"z", at::ones(1, at::kComplexDouble)}}); }),
      "cannot hold"));
  CHECK(contains(error_of([&] { save_safetensors(path, NamedTensors{{"u", at::Tensor()}}); }), "undefined"));
  CHECK(contains(
      error_of([&] { save_safetensors(folder / "no/such/x.safetensors", NamedTensors{{"a", at::ones(1)}}); }),
      "No such file"));
  CHECK(folder.files() == 0);
}

TEST_CASE("tensors that are not contiguous are written by value", "[weights]") {
  TempFolder folder;
  const at::Tensor table = at::arange(6).reshape({2, 3});
  save_safetensors(folder / "x.safetensors",
                   NamedTensors{{"t", table.t()}, {"row", table[1]}, {"wide", at::ones({1}).expand({3})}});
  const Checkpoint read = Checkpoint::open(folder / "x.safetensors");
  CHECK(at::equal(read.get("t"), table.t()));
  CHECK(at::equal(read.get("row"), table[1]));
  CHECK(at::equal(read.get("wide"), at::ones({3})));
}

TEST_CASE("a full disk leaves the old file and nothing else", "[weights]") {
  TempFolder folder;
  save_safetensors(folder / "x.safetensors", NamedTensors{{"a", at::ones({10})}});
  const std::string before = read_bytes(folder / "x.safetensors");
  const at::Tensor large = at::zeros({100000});  // made here: the child must not start thread pools

  // A child whose files may not grow beyond 4 kB stands in for a disk that fills up while writing.
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{4096, 4096};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    int code = 3;
    try {
      save_safetensors(folder / "x.safetensors", NamedTensors{{"a", large}});
    } catch (const std::runtime_error& error) {
      const std::string text = error.what();
      code =
          text.find("File too large") != std::string::npos && text.find("is unchanged") != std::string::npos
              ? 0
              : 4;
    }
    ::_exit(code);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(read_bytes(folder / "x.safetensors") == before);
  CHECK(folder.files() == 1);
}

TEST_CASE("an atomic file that is not committed leaves nothing", "[weights]") {
  TempFolder folder;
  {
    AtomicFile file(folder / "x.txt");
    file.write("half", 4);
    CHECK(folder.files() == 1);
    CHECK_FALSE(std::filesystem::exists(folder / "x.txt"));
  }
  CHECK(folder.files() == 0);
  write_file_atomically(folder / "x.txt", "whole");
  write_file_atomically(folder / "x.txt", "again");
  CHECK(read_bytes(folder / "x.txt") == "again");
  CHECK(folder.files() == 1);
}

TEST_CASE("shards are written, found again and replaced as a set", "[weights]") {
  TempFolder folder;
  const NamedTensors tensors{
      {"a", at::full({100}, 1.0)}, {"b", at::full({100}, 2.0)}, {"c", at::full({100}, 3.0)}};
  const auto files = save_sharded(folder.path, tensors, {}, 800);
  REQUIRE(files.size() == 3);
  CHECK(files[0].filename() == "model-00001-of-00002.safetensors");
  CHECK(files[2].filename() == "model.safetensors.index.json");
  const auto index = nlohmann::json::parse(read_bytes(files[2]));
  CHECK(index["metadata"]["total_size"] == 1200);
  CHECK(index["weight_map"]["c"] == "model-00002-of-00002.safetensors");
  for (const auto& place : {folder.path, files[2]}) {
    const Checkpoint read = Checkpoint::open(place);
    CHECK(read.files().size() == 2);
    CHECK(read.metadata().at("format") == "pt");
    for (const auto& [name, tensor] : tensors) CHECK(at::equal(read.get(name), tensor));
  }
  CHECK(save_sharded(folder.path, tensors, {}, 1 << 20).size() == 1);
  CHECK(folder.files() == 1);  // a stale index would lie
  CHECK(save_sharded(folder.path, tensors, {}, 1).size() == 4);
  CHECK(Checkpoint::open(folder.path).files().size() ==
        3);  // a stale model.safetensors would win over the index
}

TEST_CASE("an index may not lead outside its folder nor promise what is not there", "[weights]") {
  TempFolder folder;
  save_safetensors(folder / "one.safetensors", NamedTensors{{"a", at::ones({2})}, {"b", at::ones({2})}});
  const auto path = folder / "model.safetensors.index.json";
  auto error = [&](const std::string& text) {
    write_bytes(path, text);
    return error_of([&] { Checkpoint::open(path); });
  };
  for (const char* shard :
       {"../one.safetensors", "/etc/passwd", "sub/one.safetensors", "..", ".", "", "a\\\\b"}) {
    CHECK(contains(error("{\"weight_map\":{\"a\":\"" + std::string(shard) + "\"}}"),
                   "only plain file names inside the folder"));
  }
  CHECK(contains(error("{\"weight_map\":{\"a\":\"two.safetensors\"}}"),
                 "the shard two.safetensors is not there"));
  CHECK(contains(error("{\"weight_map\":{\"z\":\"one.safetensors\"}}"), "lists \"z\" in one.safetensors"));
  CHECK(contains(error("{\"weight_map\":{\"a\":5}}"), "is not a file name"));
  CHECK(contains(error("{\"weight_map\":[]}"), "no \"weight_map\" object"));
  CHECK(contains(error("{\"weight_map\":"), "not valid JSON"));
  CHECK(contains(error(std::string(100, '[')), "nested deeper than 32"));

  // The Hugging Face cache links its shards, so a link is fine.
  std::filesystem::create_symlink(folder / "one.safetensors", folder / "linked.safetensors");
  write_bytes(path, "{\"weight_map\":{\"a\":\"linked.safetensors\"}}");
  CHECK(Checkpoint::open(folder.path).contains("b"));
}

TEST_CASE("a folder is searched in a fixed order", "[weights]") {
  TempFolder folder;
  const std::string nothing = error_of([&] { Checkpoint::open(folder.path); });
  CHECK(contains(nothing, "looked for model.safetensors, model.safetensors.index.json, pytorch_model.bin"));
  std::filesystem::copy_file(fixture("nested.pth"), folder / "weights.pth");
  write_bytes(folder / "training_args.bin", "not weights");
  CHECK(Checkpoint::open(folder.path).files()[0].filename() == "weights.pth");
  std::filesystem::copy_file(fixture("nested.pth"), folder / "more.pt");
  CHECK(contains(error_of([&] { Checkpoint::open(folder.path); }),
                 "there are 2, name one of them: more.pt, weights.pth"));
  save_safetensors(folder / "adapter.safetensors", NamedTensors{{"a", at::ones({2})}});
  CHECK(Checkpoint::open(folder.path).files()[0].filename() == "adapter.safetensors");
  save_safetensors(folder / "model.safetensors", NamedTensors{{"a", at::ones({2})}});
  const Checkpoint read = Checkpoint::open(folder.path);
  CHECK(read.tensors()[0].file == "model.safetensors");
  CHECK(read.tensors()[0].bytes == 8);
  CHECK(contains(error_of([&] { read.get("b"); }), "has no tensor \"b\"; nearest: a"));
}

}  // namespace zoo::weights::testing::safetensors
