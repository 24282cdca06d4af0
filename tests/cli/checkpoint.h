// Small T5, BART and GPT-2 checkpoint folders whose texts are known: tests/reference/seq2seq_texts.py wrote what transformers makes of
// their lines.
#pragma once
#include <ATen/ATen.h>

#include <functional>
#include <set>

#include "models/registry.h"
#include "tests/cli/program.h"
#include "weights/fill.h"
#include "weights/safetensors.h"

namespace zoo::test {

inline const Json& texts_reference() {
  static const Json json = Json::parse(file_text(ZOO_TEST_DIR "/fixtures/files/seq2seq.json"));
  return json;
}

// A checkpoint folder "net" and the lines in "file.txt".
struct Checkpoint : Scratch {
  const Json& network;
  explicit Checkpoint(const std::string& name) : network(texts_reference().at("networks").at(name)) {
    for (const auto& [file, content] : network.at("files").items()) write("net/" + file, content.dump());
    save_weights();
    std::string lines;
    for (const auto& line : texts_reference().at("lines")) lines += line.get<std::string>() + "\n";
    write("file.txt", lines);
  }
  void save_weights(const std::function<void(weights::NamedTensors&)>& change = {}) const {
    const auto model = zoo::make_from_config(network.at("files").at("config.json"));
    model->init_weights();
    std::set<std::string> canonical;
    for (const auto& [key, factor] : network.at("scale").items()) canonical.insert(key);
    zoo::weights::fill_module(*model, 0, canonical);
    const at::NoGradGuard no_grad;
    for (const auto& [key, factor] : network.at("scale").items()) model->named_parameters()[key].mul_(factor.get<double>());
    zoo::weights::NamedTensors tensors;
    std::set<const void*> seen;  // tied tensors stand in the file once
    for (const auto& item : model->named_parameters())
      if (seen.insert(item.value().data_ptr()).second) tensors.emplace_back(item.key(), item.value().detach());
    for (const auto& item : model->named_buffers()) tensors.emplace_back(item.key(), item.value());
    if (change) change(tensors);
    zoo::weights::save_safetensors(path() / "net/model.safetensors", tensors);
  }
  // The file of the folder with some keys changed; null removes.
  void change(const std::string& file, const Json& patch) const {
    Json content = network.at("files").at(file);
    content.merge_patch(patch);
    write("net/" + file, content.dump());
  }
  std::string expected(const char* beams) const {
    std::string lines;
    for (const auto& text : network.at("texts").at(beams)) lines += text.get<std::string>() + "\n";
    return lines;
  }
  std::string at(const std::string& name) const { return "'" + (path() / name).string() + "'"; }
  std::string run() const {
    const bool continues = network.at("files").at("config.json").at("model_type") == "gpt2";
    return "run " + at("net") + " --task " + (continues ? "generate " : "seq2seq ");
  }
};

}  // namespace zoo::test
