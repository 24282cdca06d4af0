// zoo bench --serve: pieces of work on request.
#include <c10/core/InferenceMode.h>
#include <torch/cuda.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <fstream>

#include "app/commands/bench_parts.h"
#include "app/engine/generation.h"
#include "app/engine/graphed_forward.h"
#include "app/engine/graphed_training.h"
#include "app/machine.h"
#include "app/tasks/sentence_encoder.h"
#include "weights/checkpoint.h"
#include "weights/safetensors.h"

namespace zoo::app {

at::Tensor bench_gradients(Model& model, const Tensors& inputs) {
  at::Tensor loss;
  for (const auto& [name, output] : model.forward(inputs)) {
    if (!output.is_floating_point() || !output.requires_grad()) continue;
    const at::Tensor part = output.to(at::kFloat).square().mean();
    loss = loss.defined() ? loss + part : part;
  }
  loss.backward();
  return loss.detach();
}

void forget_gradients(Model& model) {
  for (auto& parameter : model.parameters()) parameter.mutable_grad() = at::Tensor();
}

namespace bench_serve_detail {

Tensors read_inputs(const std::string& path, at::Device device) {
  Tensors inputs;
  const auto file = weights::Checkpoint::open(path);
  for (const auto& info : file.tensors()) {
    const at::Tensor tensor = file.get(info.name);
    inputs[info.name] = (info.name == "mask" ? tensor.to(at::kBool) : tensor).clone().to(device);
  }
  return inputs;
}

std::vector<std::string> read_texts(const std::string& path) {
  std::vector<std::string> texts;
  std::ifstream lines(path);
  if (!lines) throw std::runtime_error(path + ": cannot be read");
  for (std::string line; std::getline(lines, line);) texts.push_back(line);
  return texts;
}

Tensors generated(const Bundle& bundle, Generator& write, const Tensors& inputs, const Json& options) {
  std::vector<at::Tensor> rows;
  for (const auto& results : write(inputs, generation_options(bundle.config, Json::object(), options))) {
    rows.push_back(at::tensor(results.front().ids, at::kLong));
  }
  return {{"ids", at::stack(rows)}};
}

// The network, and what it recorded for earlier requests.
struct Served {
  Served(const Bundle& b, bool record)
      : bundle(b), graphs(record), write(*b.model), forward(*b.model),
        training(b.model->parameters(), [this](const Tensors& batch) { return bench_gradients(*bundle.model, batch); }, record) {}

  const Bundle& bundle;
  const bool graphs;
  Generator write;
  GraphedForward forward;
  GraphedTraining training;
};

// One piece of work, without reading what it works on.
class Work {
 public:
  Work(Served& served, const Json& request) : served_(served), request_(request) {
    if (request.contains("inputs")) inputs_ = read_inputs(request.at("inputs").get<std::string>(), served.bundle.device);
    if (request.contains("texts")) texts_ = read_texts(request.at("texts").get<std::string>());
  }

  Tensors run() {
    const Bundle& bundle = served_.bundle;
    if (request_.value("train", false)) {
      served_.training(inputs_);
      forget_gradients(*bundle.model);
      return {};
    }
    const c10::InferenceMode guard;
    if (!texts_.empty()) return {{"vectors", encode_sentences(bundle, sentence_settings(bundle, Json::object()), texts_, "", 0)}};
    if (request_.contains("generate")) return generated(bundle, served_.write, inputs_, request_.at("generate"));
    return served_.graphs ? served_.forward(inputs_) : bundle.model->forward(inputs_);
  }

 private:
  Served& served_;
  const Json& request_;
  Tensors inputs_;
  std::vector<std::string> texts_;
};

Json answer(Served& served, const Json& request) {
  const at::Device device = served.bundle.device;
  const auto wait = [&] {
    if (device.is_cuda()) torch::cuda::synchronize(device.index());
  };
  Work work(served, request);
  const auto times = request.value("repeat", size_t{1});
  const double least = request.value("least_seconds", 0.0);
  Tensors results;
  std::vector<double> runs;
  wait();
  for (double sum = 0; runs.size() < std::max<size_t>(times, 1) || sum < least; sum += runs.back()) {
    const auto start = std::chrono::steady_clock::now();
    results = work.run();
    wait();
    runs.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(runs.begin(), runs.end());
  if (request.contains("save")) {
    weights::NamedTensors named;
    for (const auto& [name, tensor] : results) named.emplace_back(name, tensor.cpu().contiguous());
    weights::save_safetensors(request.at("save").get<std::string>(), named);
  }
  return {{"seconds", runs[runs.size() / 2]}, {"peak_bytes", peak_resident_bytes()}, {"resident_bytes", resident_bytes()}};
}

}  // namespace bench_serve_detail

int serve_requests(const Bundle& bundle, std::istream& in, std::ostream& out, bool graphs) {
  bench_serve_detail::Served served(bundle, graphs);
  for (std::string line; std::getline(in, line);) {
    Json reply;
    try {
      reply = bench_serve_detail::answer(served, Json::parse(line));
    } catch (const std::exception& error) {
      reply = {{"error", std::string(error.what()).substr(0, 400)}};
    }
    out << reply.dump() << std::endl;
  }
  return 0;
}

}  // namespace zoo::app
