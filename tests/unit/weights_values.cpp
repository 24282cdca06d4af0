// The fill rule, .npy files, merged names, conversion.
#include <torch/nn/module.h>

#include "tests/unit/weights_helpers.h"
#include "weights/convert.h"
#include "weights/fill.h"
#include "weights/merge_names.h"
#include "weights/npy.h"

namespace zoo::weights::testing::values {

std::vector<double> list(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.to(at::kDouble).contiguous().flatten();
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

TEST_CASE("the fill rule gives the reference's numbers", "[weights]") {
  CHECK(fnv1a64("") == 0xCBF29CE484222325);
  CHECK(fnv1a64("a") == 0xAF63DC4C8601EC8C);
  CHECK(uniform("encoder.weight", 4, 7) == std::vector<double>{0x1.010c51fd800c9p-1, 0x1.3505c956bfc68p-2,
                                                               0x1.9505bf79d60b5p-1, 0x1.b64054631bc19p-1});
  CHECK(list(fill_values("encoder.weight", {2, 3}, 7)) ==
        std::vector<double>{0.004094242467589604, -0.3964402276616168, 0.5821189567996445, 0.7119190923656389,
                            0.9024575555643077, 0.18734732500381446});
  CHECK(list(fill_values("norm.weight", {3}, 7)) ==
        std::vector<double>{1.0355638389606825, 1.0355247055167938, 1.0620420874460417});
  CHECK(list(fill_values("norm.bias", {3}, 7)) ==
        std::vector<double>{0.02813469411228016, -0.04151775289010673, -0.05215887501722112});
  CHECK(list(fill_values("bn.running_var", {3}, 7)) ==
        std::vector<double>{1.0048688092191902, 1.083555860385868, 1.10510224257616});
  CHECK(fill_values("a.weight", {}, 7).dim() == 0);
  CHECK(fill_values("a.weight", {0, 3}, 7).numel() == 0);
  const at::Tensor ids = fill_tokens("tokens", {64}, 3, 5, 9);
  CHECK(ids.scalar_type() == at::kLong);
  CHECK(ids.min().item<int>() == 5);
  CHECK(ids.max().item<int>() == 8);
  const at::Tensor image = fill_inputs("image", {2, 3}, 1, 0, 2);
  CHECK(image.scalar_type() == at::kFloat);
  CHECK(image.ge(0).all().item<bool>());
  CHECK(at::equal(image.flatten()[0], at::scalar_tensor(2 * uniform("input:image", 1, 1)[0]).to(at::kFloat)));
}

TEST_CASE("a module is filled once for each tensor, under the canonical key", "[weights]") {
  auto module = std::make_shared<torch::nn::Module>();
  auto table = module->register_parameter("decoder", at::zeros({2, 2}));
  module->register_parameter("embedding", table);
  module->register_buffer("running_mean", at::zeros({2}));
  module->register_buffer("positions", at::arange(3, at::kFloat));
  CHECK(fill_module(*module, 0).size() == 2);
  CHECK(at::equal(table, fill_values("decoder", {2, 2}, 0).to(at::kFloat)));
  const auto filled = fill_module(*module, 0, {"embedding"});
  CHECK(at::equal(table, fill_values("embedding", {2, 2}, 0).to(at::kFloat)));
  CHECK(filled[0].first == "embedding");
  CHECK(at::equal(module->named_buffers()["positions"], at::arange(3, at::kFloat)));
}

TEST_CASE("npy files come back as they were", "[weights]") {
  TempFolder folder;
  for (auto type : {at::kFloat, at::kDouble, at::kHalf, at::kLong, at::kInt, at::kShort, at::kChar, at::kByte,
                    at::kBool, at::kUInt16, at::kComplexFloat}) {
    for (const std::vector<int64_t>& shape : {std::vector<int64_t>{}, {3}, {2, 3}, {0, 4}}) {
      INFO(c10::toString(type) << " " << shape.size());
      const at::Tensor tensor = at::ones(shape).to(type);
      save_npy(folder / "x.npy", tensor);
      const at::Tensor back = load_npy(folder / "x.npy");
      CHECK(back.scalar_type() == type);
      CHECK(back.sizes() == tensor.sizes());
      CHECK(same_bytes(back, tensor));
    }
  }
  save_npy(folder / "x.npy", at::ones({2}, at::kBFloat16));
  CHECK(load_npy(folder / "x.npy").scalar_type() == at::kFloat);
  save_npy(folder / "x.npy", at::arange(6).reshape({2, 3}).t());
  CHECK(at::equal(load_npy(folder / "x.npy"), at::arange(6).reshape({2, 3}).t()));
  CHECK((read_bytes(folder / "x.npy").find('\n') + 1) % 64 == 0);
}

TEST_CASE("npy files that lie are refused", "[weights]") {
  TempFolder folder;
  auto file = [&](std::string dict, const std::string& data) {
    dict += '\n';
    write_bytes(folder / "x.npy",
                std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(dict.size()) + '\0' + dict + data);
    return folder / "x.npy";
  };
  auto error = [&](const std::string& dict, const std::string& data) {
    const auto path = file(dict, data);
    return error_of([&] { load_npy(path); });
  };
  const std::string eight("\0\0\0\0\0\0\x80\x3f", 8);
  CHECK(at::equal(load_npy(file("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2), }", eight)),
                  at::tensor({0.f, 1.f}).reshape({1, 2})));
  CHECK(contains(error("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", eight),
                 "'|O' is not supported"));
  CHECK(contains(error("{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", eight),
                 "'>f4' is not supported"));
  CHECK(contains(error("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", eight),
                 "does not take the 8 bytes"));
  CHECK(contains(
      error("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999999), }", eight),
      "63 bits"));
  CHECK(contains(error("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", eight),
                 "too large"));
  CHECK(contains(error("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", eight),
                 "records are refused"));
  write_bytes(folder / "x.npy", "PK");
  CHECK(contains(error_of([&] { load_npy(folder / "x.npy"); }), "truncated"));
}

TEST_CASE("repeated layers merge into one line", "[weights]") {
  auto patterns = [](const std::vector<std::string>& names) {
    std::vector<std::string> result;
    for (const MergedName& merged : merge_names(names))
      result.push_back(merged.pattern + " x" + std::to_string(merged.members.size()));
    return result;
  };
  using List = std::vector<std::string>;
  CHECK(patterns({"a.0.w", "a.0.b", "a.1.w", "a.1.b", "end"}) ==
        List{"a.{0,1}.w x2", "a.{0,1}.b x2", "end x1"});
  CHECK(patterns({"s.0.b.0.w", "s.0.b.1.w", "s.0.b.2.w", "s.1.b.0.w", "s.1.b.1.w", "s.1.b.2.w"}) ==
        List{"s.{0,1}.b.{0..2}.w x6"});
  CHECK(patterns({"s.0.b.0", "s.0.b.1", "s.1.b.0"}) == List{"s.0.b.{0,1} x2", "s.1.b.0 x1"});
  CHECK(patterns({"a.7", "a.3", "a.4", "a.5"}) == List{"a.{3..5,7} x4"});
  CHECK(patterns({"0.w"}) == List{"0.w x1"});
  CHECK(patterns({"a..b", "", "a."}) == List{"a..b x1", " x1", "a. x1"});
  CHECK(patterns({"a.01", "a.1"}) == List{"a.01 x1", "a.1 x1"});
  CHECK(patterns({"a.0", "a.0"}) == List{"a.0 x1", "a.0 x1"});
  const auto kinds =
      merge_names({"a.0", "a.1", "a.2"}, [](size_t i) { return std::string(i == 1 ? "x" : "y"); });
  REQUIRE(kinds.size() == 2);
  CHECK(kinds[0].pattern == "a.{0,2}");
  CHECK(merged_lines({"a.0", "a.1", "b"}, "  ") == "  a.{0,1} (2)\n  b");
}

TEST_CASE("conversion: torch file to safetensors, cast, sharded, merged again", "[weights]") {
  TempFolder folder;
  const Checkpoint original = Checkpoint::open(fixture("plain_legacy.pth"));
  ConvertOptions options;
  ConvertReport report = convert(original, folder / "x.safetensors", options);
  CHECK(report.tensors == 16);
  Checkpoint copy = Checkpoint::open(folder / "x.safetensors");
  for (const TensorInfo& info : original.tensors())
    CHECK(at::equal(copy.get(info.name), original.get(info.name)));
  CHECK(copy.metadata().at("format") == "pt");

  options.dtype = at::kBFloat16;
  options.max_shard_bytes = 64;
  report = convert(copy, folder.path, options);
  CHECK(report.files.size() > 2);
  const Checkpoint shards = Checkpoint::open(report.files.back());
  CHECK(shards.get("weight").scalar_type() == at::kBFloat16);
  CHECK(shards.get("steps").scalar_type() == at::kLong);
  CHECK(shards.get("complex").scalar_type() == at::kComplexFloat);
  CHECK(at::equal(shards.get("weight"), original.get("weight").to(at::kBFloat16)));
  CHECK(
      contains(error_of([&] { convert(copy, folder / "y.safetensors", options); }), "shards need a folder"));

  ConvertOptions clash;
  clash.layouts = {Layout::from_json(
      nlohmann::json::parse(R"({"name": "x", "detect": "tied", "rename": [["^tied$", "weight"]]})"))};
  CHECK(contains(error_of([&] { convert(copy, folder / "z.safetensors", clash); }),
                 "would both be named \"weight\""));
}

}  // namespace zoo::weights::testing::values
