#include <torch/nn/module.h>

#include "tests/unit/weights_helpers.h"
#include "weights/checkpoint.h"
#include "weights/loader.h"
#include "weights/safetensors.h"

namespace zoo::weights::testing::loader {

using Shapes = std::vector<std::pair<std::string, std::vector<int64_t>>>;

// A module with parameters under dotted paths, all zero.
std::shared_ptr<torch::nn::Module> module_of(const Shapes& shapes) {
  auto root = std::make_shared<torch::nn::Module>();
  for (const auto& [path, shape] : shapes) {
    torch::nn::Module* scope = root.get();
    size_t begin = 0;
    for (size_t dot = path.find('.'); dot != std::string::npos; dot = path.find('.', begin)) {
      const std::string name = path.substr(begin, dot - begin);
      const auto children = scope->named_children();
      const auto* child = children.find(name);
      scope =
          child ? child->get() : scope->register_module(name, std::make_shared<torch::nn::Module>()).get();
      begin = dot + 1;
    }
    scope->register_parameter(path.substr(begin), at::zeros(shape));
  }
  return root;
}

Checkpoint checkpoint_of(const TempFolder& folder, const NamedTensors& tensors) {
  save_safetensors(folder / "model.safetensors", tensors);
  return Checkpoint::open(folder.path);
}

at::Tensor parameter(torch::nn::Module& module, const std::string& key) {
  return module.named_parameters()[key];
}

LoadReport failure(torch::nn::Module& module, const Checkpoint& checkpoint, const LoadOptions& options = {}) {
  try {
    load(module, checkpoint, options);
  } catch (const LoadError& error) {
    CHECK(contains(error.what(), error.report.text()));
    return error.report;
  }
  FAIL("the load report was good");
  return {};
}

TEST_CASE("loading maps the file into the parameters", "[weights]") {
  TempFolder folder;
  auto module = module_of({{"a.weight", {2, 3}}, {"a.bias", {2}}});
  module->register_buffer("steps", at::zeros({}, at::kLong));
  const at::Tensor held = parameter(*module, "a.weight");  // as a layer's member holds it
  const Checkpoint file = checkpoint_of(folder, {{"a.weight", at::ones({2, 3})},
                                                 {"a.bias", at::ones({2}, at::kHalf)},
                                                 {"steps", at::scalar_tensor(7, at::kLong)}});
  const LoadReport report = load(*module, file);
  CHECK(report.loaded == 3);
  CHECK(report.total == 3);
  CHECK(held.data_ptr() == file.get("a.weight").data_ptr());
  CHECK(held.requires_grad());
  CHECK(parameter(*module, "a.bias").scalar_type() == at::kFloat);
  CHECK(module->named_buffers()["steps"].item<int>() == 7);
  CHECK(report.json()["loaded"] == 3);

  const std::string before = read_bytes(folder / "model.safetensors");
  {
    at::NoGradGuard no_grad;
    held.add_(1);
  }
  CHECK(held.sum().item<float>() == 12);
  CHECK(read_bytes(folder / "model.safetensors") == before);
}

TEST_CASE("a load report names everything at once", "[weights]") {
  TempFolder folder;
  Shapes shapes{{"head.weight", {5, 4}}, {"head.bias", {5}}};
  NamedTensors tensors{{"head.weight", at::ones({3, 4})}, {"old.scale", at::ones({1})}};
  for (int i = 0; i < 12; ++i) shapes.push_back({"layer." + std::to_string(i) + ".norm.weight", {4}});
  for (int i = 0; i < 2; ++i)
    tensors.push_back({"layer." + std::to_string(i) + ".norm.weight", at::ones({4})});
  auto module = module_of(shapes);
  const Checkpoint file = checkpoint_of(folder, tensors);

  const LoadReport report = failure(*module, file);
  CHECK(report.loaded == 2);
  CHECK(report.missing.size() == 11);
  CHECK(report.unexpected == std::vector<std::string>{"old.scale"});
  const std::string text = report.text();
  CHECK(contains(text, "2 of the model's 14 tensors found"));
  CHECK(contains(text, "missing (11)"));
  CHECK(contains(text, "layer.{2..11}.norm.weight (10)"));
  CHECK(contains(text, "head.bias"));
  CHECK(contains(text, "head.weight: [3, 4] in the file, [5, 4] in the model"));
  for (const char* flag : {"--allow-missing", "--allow-unexpected", "--reinit-head"})
    CHECK(contains(text, flag));
  CHECK(parameter(*module, "layer.0.norm.weight").sum().item<float>() == 0);  // unchanged after a failure
  CHECK(report.json()["mismatched"][0]["in_model"] == std::vector<int64_t>{5, 4});

  LoadOptions options;
  options.allow_missing = options.allow_unexpected = true;
  CHECK(failure(*module, file, options).mismatched.size() == 1);
  options.reinit_mismatched = true;
  CHECK(load(*module, file, options).loaded == 2);
  CHECK(parameter(*module, "layer.1.norm.weight").sum().item<float>() == 4);
  CHECK(parameter(*module, "head.weight").sum().item<float>() == 0);
}

TEST_CASE("each flag accepts its own case alone", "[weights]") {
  TempFolder folder;
  auto module = module_of({{"a", {1}}, {"b", {1}}});
  const Checkpoint lacks = checkpoint_of(folder, {{"a", at::ones({1})}});
  LoadOptions options;
  options.allow_unexpected = options.reinit_mismatched = true;
  CHECK(failure(*module, lacks, options).missing == std::vector<std::string>{"b"});
  options = {};
  options.allow_missing = true;
  CHECK(load(*module, lacks, options).loaded == 1);

  TempFolder other;
  const Checkpoint more =
      checkpoint_of(other, {{"a", at::ones({1})}, {"b", at::ones({1})}, {"c", at::ones({1})}});
  CHECK(failure(*module, more, options).unexpected == std::vector<std::string>{"c"});
  options = {};
  options.allow_unexpected = true;
  CHECK(load(*module, more, options).loaded == 2);
}

TEST_CASE("base and headed checkpoints meet through the base prefix", "[weights]") {
  LoadOptions options;
  options.base_prefix = "bert";
  options.allow_missing = options.allow_unexpected = true;
  {
    TempFolder folder;
    auto headed = module_of({{"bert.emb.weight", {2}}, {"classifier.weight", {2}}});
    const LoadReport report = load(*headed, checkpoint_of(folder, {{"emb.weight", at::ones({2})}}), options);
    CHECK(report.prefix_added);
    CHECK(report.missing == std::vector<std::string>{"classifier.weight"});
    CHECK(contains(report.text(), "the file holds the base model alone"));
    CHECK(parameter(*headed, "bert.emb.weight").sum().item<float>() == 2);
  }
  TempFolder folder;
  auto base = module_of({{"emb.weight", {2}}});
  const Checkpoint file =
      checkpoint_of(folder, {{"bert.emb.weight", at::ones({2})}, {"cls.weight", at::ones({2})}});
  const LoadReport report = load(*base, file, options);
  CHECK(report.prefix_stripped);
  CHECK(report.unexpected == std::vector<std::string>{"cls.weight"});
  CHECK(parameter(*base, "emb.weight").sum().item<float>() == 2);
}

TEST_CASE("tied tensors stay tied whichever name the file holds", "[weights]") {
  for (const char* name : {"table", "output"}) {
    TempFolder folder;
    auto module = module_of({{"table", {3}}});
    module->register_parameter("output", parameter(*module, "table"));
    const LoadReport report = load(*module, checkpoint_of(folder, {{name, at::ones({3})}}));
    CHECK(report.missing.empty());
    CHECK(report.tied.size() == 1);
    CHECK(report.total == 1);
    CHECK(parameter(*module, "table").data_ptr() == parameter(*module, "output").data_ptr());
    CHECK(parameter(*module, "output").sum().item<float>() == 3);
    CHECK(state_dict(*module).size() == 2);
    CHECK(state_dict(*module, false).size() == 1);
  }
  TempFolder folder;
  auto module = module_of({{"table", {3}}});
  module->register_parameter("output", parameter(*module, "table"));
  CHECK(load(*module, checkpoint_of(folder, {{"table", at::ones({3})}, {"output", at::ones({3})}}))
            .tied.empty());

  TempFolder other;
  const Checkpoint differs = checkpoint_of(other, {{"table", at::ones({3})}, {"output", at::zeros({3})}});
  const LoadReport report = failure(*module, differs);
  CHECK(report.tied_differ == std::vector<std::string>{"output = table"});
  CHECK(contains(report.text(), "tied but different"));
}

TEST_CASE("tensors tied by sharing memory stay tied too", "[weights]") {
  TempFolder folder;
  auto module = module_of({{"table", {3}}, {"output", {3}}});
  parameter(*module, "output").set_data(parameter(*module, "table"));
  const LoadReport report = load(*module, checkpoint_of(folder, {{"table", at::ones({3})}}));
  CHECK(report.missing.empty());
  CHECK(parameter(*module, "table").data_ptr() == parameter(*module, "output").data_ptr());
}

TEST_CASE("conversion and resizing happen on request", "[weights]") {
  TempFolder folder;
  auto module = module_of({{"positions", {4, 2}}, {"weight", {2}}});
  module->register_buffer("ids", at::zeros({2}, at::kLong));
  const Checkpoint file = checkpoint_of(
      folder,
      {{"positions", at::ones({2, 2})}, {"weight", at::ones({2})}, {"ids", at::ones({2}, at::kLong)}});
  LoadOptions options;
  options.dtype = at::kBFloat16;
  options.adapt = [](const std::string& key, const at::Tensor& from, at::IntArrayRef wanted) {
    CHECK(key == "positions");
    return from.repeat({wanted[0] / from.size(0), 1});
  };
  const LoadReport report = load(*module, file, options);
  CHECK(report.adapted == std::vector<std::string>{"positions"});
  CHECK(parameter(*module, "positions").sizes() == at::IntArrayRef({4, 2}));
  CHECK(parameter(*module, "weight").scalar_type() == at::kBFloat16);
  CHECK(module->named_buffers()["ids"].scalar_type() == at::kLong);

  options.adapt = [](const std::string&, const at::Tensor&, at::IntArrayRef) { return at::Tensor(); };
  CHECK(failure(*module, file, options).mismatched.size() == 1);
}

TEST_CASE("foreign layouts load through their table", "[weights]") {
  TempFolder folder;
  const at::Tensor fused = at::arange(24, at::kFloat).reshape({2, 12});  // [in, 3 * out], as GPT-2 stores it
  const Checkpoint file = checkpoint_of(folder, {{"h.0.c_attn.weight", fused},
                                                 {"h.0.ln.gamma", at::ones({2})},
                                                 {"h.0.attn.bias", at::ones({1})},
                                                 {"wte", at::ones({5, 2})}});
  const Layout layout = Layout::from_json(nlohmann::json::parse(R"json({
    "name": "old", "detect": "\\.gamma$", "rename": [["^h\\.", "block."], ["\\.gamma$", ".weight"]],
    "transpose": ["c_attn\\.weight$"], "split": [["^(.*)c_attn\\.(weight)$", ["$1q.$2", "$1k.$2", "$1v.$2"]]],
    "ignore": ["attn\\.bias$"], "tie": [["head", "wte"]]})json"));
  auto module = module_of({{"block.0.q.weight", {4, 2}},
                           {"block.0.k.weight", {4, 2}},
                           {"block.0.v.weight", {4, 2}},
                           {"block.0.ln.weight", {2}},
                           {"wte", {5, 2}},
                           {"head", {5, 2}}});
  LoadOptions options;
  options.layouts = {layout};
  const LoadReport report = load(*module, file, options);
  CHECK(report.layout == "old");
  CHECK(report.ignored == std::vector<std::string>{"h.0.attn.bias"});
  CHECK(report.tied == std::vector<std::string>{"head = wte"});
  CHECK(at::equal(parameter(*module, "block.0.k.weight"), fused.t().slice(0, 4, 8)));
  CHECK(parameter(*module, "head").data_ptr() !=
        parameter(*module, "wte").data_ptr());  // the module does not tie them
  CHECK(layout.map_key("h.3.ln.gamma") == "block.3.ln.weight");
  CHECK(layout.ignored("x.attn.bias"));

  // Not detected: the names stay as they are.
  TempFolder other;
  CHECK(load(*module_of({{"h.0", {1}}}), checkpoint_of(other, {{"h.0", at::ones({1})}}), options)
            .layout.empty());
}

TEST_CASE("layout tables are read strictly", "[weights]") {
  auto error = [](const char* text) {
    return error_of([&] { Layout::from_json(nlohmann::json::parse(text)); });
  };
  CHECK(contains(error(R"({"name": "x", "detect": "a", "renames": []})"),
                 "unknown field \"renames\" (known: detect, ignore, name"));
  CHECK(contains(error(R"({"name": "x"})"), "needs \"name\" and \"detect\""));
  CHECK(contains(error(R"({"name": "x", "detect": "("})"), "not a regular expression"));
  CHECK(contains(error(R"({"name": "x", "detect": "a", "rename": [["a"]]})"), "must be pairs"));
  CHECK(contains(error(R"({"name": "x", "detect": "a", "split": [["a", ["b"]]]})"), "at least two names"));
  CHECK(contains(error("[]"), "must be a JSON object"));

  TempFolder folder;
  const Checkpoint file = checkpoint_of(folder, {{"qkv", at::ones({7})}});
  LoadOptions options;
  options.layouts = {Layout::from_json(
      nlohmann::json::parse(R"({"name": "x", "detect": "qkv", "split": [["qkv", ["q", "k", "v"]]]})"))};
  CHECK(contains(error_of([&] { load(*module_of({{"q", {2}}}), file, options); }),
                 "qkv: is [7] and cannot be split into 3 equal parts"));
  options.layouts = {
      Layout::from_json(nlohmann::json::parse(R"({"name": "x", "detect": "qkv", "transpose": ["qkv"]})"))};
  CHECK(contains(error_of([&] { load(*module_of({{"qkv", {7}}}), file, options); }),
                 "only a matrix can be transposed"));
}

TEST_CASE("two names of the file for one tensor of the model: the second is unexpected", "[weights]") {
  TempFolder folder;
  LoadOptions options;
  options.base_prefix = "bert";
  const Checkpoint file = checkpoint_of(folder, {{"w", at::ones({1})}, {"bert.w", at::zeros({1})}});
  CHECK(failure(*module_of({{"w", {1}}}), file, options).unexpected == std::vector<std::string>{"bert.w"});
}

}  // namespace zoo::weights::testing::loader
