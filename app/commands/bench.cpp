// zoo bench: seconds of networks over batch sizes, lengths, element types and devices.
#include <ATen/Parallel.h>
#include <torch/cuda.h>
#include <torch/version.h>

#include <chrono>
#include <iostream>
#include <numeric>
#include <optional>

#include "app/bundle.h"
#include "app/cli.h"
#include "app/commands/bench_parts.h"
#include "app/engine/graphed_forward.h"
#include "app/engine/graphed_training.h"
#include "app/machine.h"
#include "app/report/progress.h"
#include "app/report/table.h"
#include "app/tasks/image_data.h"
#include "models/blocks/linear.h"
#include "models/names.h"
#include "models/registry.h"

namespace zoo::app {
namespace bench_detail {

struct Options {
  std::vector<std::string> models, dtypes = {"float32"}, devices;
  std::vector<int64_t> batches = {1}, lengths = {128}, sizes;
  std::string mode = "inference", task;
  int64_t repeat = 30, warmup = 5;
  double min_time = 0;
  bool graphs = true, markdown = false, csv = false, serve = false, roofline = false;
};

struct Case {
  std::string model, dtype;
  at::Device device = at::kCPU;
  int64_t batch = 1, length = 0, size = 0;  // length, size: 0 where the network has none
};

struct Result {
  Case what;
  double mean = 0, deviation = 0, median = 0, fastest = 0;  // seconds of one batch
  int64_t runs = 0;
  std::optional<double> graph_difference;  // where a CUDA graph was replayed
  uint64_t peak_bytes = 0;  // CPU: resident memory of the process; CUDA: allocated on the device
  std::string error;
};

// ---- inputs ----

int64_t dimension(const std::string& symbol, const Case& c, const Json& config) {
  if (symbol == "B") return c.batch;
  if (symbol == "T") return c.length;
  if (symbol == "U") return c.length;  // a decoder that reads as much
  if (symbol == "F") return 4;  // calendar features of hourly data
  if (symbol == "H" || symbol == "W") return c.size;
  if (symbol.find_first_not_of("0123456789") == std::string::npos) return std::stoll(symbol);
  return config.at(symbol).get<int64_t>();
}

Tensors random_inputs(const Bundle& bundle, const Case& c) {
  Tensors inputs;
  const at::ScalarType dtype = bundle.model->parameters().front().scalar_type();
  for (const auto& spec : bundle.entry->inputs(bundle.config)) {
    std::vector<int64_t> shape;
    for (const auto& symbol : spec.shape) shape.push_back(dimension(symbol, c, bundle.config));
    at::Tensor value;
    if (spec.dtype == "float32") value = at::empty(shape, at::kFloat).uniform_(spec.low, spec.high).to(dtype);
    else value = at::randint(static_cast<int64_t>(spec.low), static_cast<int64_t>(spec.high), shape, at::kLong);
    inputs[spec.name] = (spec.dtype == "bool" ? value.to(at::kBool) : value).to(c.device);
  }
  return inputs;
}

bool takes(const Bundle& bundle, const std::string& symbol) {
  for (const auto& spec : bundle.entry->inputs(bundle.config)) {
    if (std::find(spec.shape.begin(), spec.shape.end(), symbol) != spec.shape.end()) return true;
  }
  return false;
}

// ---- measuring ----

double seconds_of(const std::function<void()>& work, at::Device device) {
  const auto start = std::chrono::steady_clock::now();
  work();
  if (device.is_cuda()) torch::cuda::synchronize(device.index());
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void reset_peak(at::Device device) {
  if (device.is_cuda()) at::getDeviceAllocator(at::kCUDA)->resetPeakStats(device.index());
  else reset_peak_resident_bytes();
}

uint64_t peak(at::Device device) {
  if (!device.is_cuda()) return peak_resident_bytes();
  const auto stats = at::getDeviceAllocator(at::kCUDA)->getDeviceStats(device.index());
  return static_cast<uint64_t>(stats.allocated_bytes[0].peak);
}

void summarise(std::vector<double> seconds, Result& result) {
  const auto count = static_cast<double>(seconds.size());
  result.runs = static_cast<int64_t>(seconds.size());
  result.mean = std::accumulate(seconds.begin(), seconds.end(), 0.0) / count;
  double squares = 0;
  for (const double s : seconds) squares += (s - result.mean) * (s - result.mean);
  result.deviation = seconds.size() > 1 ? std::sqrt(squares / (count - 1)) : 0.0;
  std::sort(seconds.begin(), seconds.end());
  const size_t middle = seconds.size() / 2;
  result.median = seconds.size() % 2 ? seconds[middle] : (seconds[middle - 1] + seconds[middle]) / 2;
  result.fastest = seconds.front();
}

// The recording on inputs that it has not seen, beside the plain forward: largest difference of an output, 0 where kernels are the same.
double difference_of_graph(GraphedForward& graphed, Model& model, const Tensors& inputs) {
  const at::NoGradGuard no_grad;
  const Tensors plain = model.forward(inputs), replayed = graphed(inputs);
  double largest = 0;
  for (const auto& [name, tensor] : plain) {
    if (tensor.numel() > 0) largest = std::max(largest, (tensor.to(at::kDouble) - replayed.at(name).to(at::kDouble)).abs().max().item<double>());
  }
  return largest;
}

// The same of a training step's loss and gradients, with the same random numbers.
double difference_of_steps(GraphedTraining& graphed, Model& model, const Tensors& inputs) {
  at::manual_seed(1);
  std::vector<at::Tensor> plain = {bench_gradients(model, inputs)};
  for (const auto& parameter : model.parameters()) plain.push_back(parameter.grad());
  forget_gradients(model);
  at::manual_seed(1);
  std::vector<at::Tensor> replayed = {graphed(inputs)};
  for (const auto& parameter : model.parameters()) replayed.push_back(parameter.grad());
  double largest = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    if (plain[i].defined()) largest = std::max(largest, (plain[i].to(at::kDouble) - replayed[i].to(at::kDouble)).abs().max().item<double>());
  }
  forget_gradients(model);
  return largest;
}

Result measure(const Bundle& bundle, const Case& c, const Options& options) {
  Result result;
  result.what = c;
  try {
    const Tensors inputs = random_inputs(bundle, c);
    GraphedForward forward(*bundle.model);
    const auto infer = [&] {
      const at::NoGradGuard no_grad;
      if (options.graphs) forward(inputs);
      else bundle.model->forward(inputs);
    };
    GraphedTraining step(bundle.model->parameters(), [&](const Tensors& batch) { return bench_gradients(*bundle.model, batch); }, options.graphs);
    const auto train = [&] {
      step(inputs);
      forget_gradients(*bundle.model);
    };
    const std::function<void()> work = options.mode == "training" ? std::function<void()>(train) : infer;
    reset_peak(c.device);
    for (int64_t i = 0; i < options.warmup; ++i) seconds_of(work, c.device);
    std::vector<double> seconds;
    double total = 0;
    while (static_cast<int64_t>(seconds.size()) < options.repeat || total < options.min_time) {
      seconds.push_back(seconds_of(work, c.device));
      total += seconds.back();
    }
    summarise(std::move(seconds), result);
    result.peak_bytes = peak(c.device);
    if (forward.recorded() > 0) result.graph_difference = difference_of_graph(forward, *bundle.model, random_inputs(bundle, c));
    if (step.recorded() > 0) result.graph_difference = difference_of_steps(step, *bundle.model, random_inputs(bundle, c));
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    result.error = text.substr(0, text.find('\n'));
  }
  return result;
}

// ---- the grid ----

Bundle load(const std::string& model, at::Device device, const std::string& dtype, int64_t size, const Options& options) {
  BundleOptions wanted;
  wanted.task = options.task;
  wanted.dtype = dtype;
  wanted.for_training = options.mode == "training";
  if (size == 0) return load_bundle(model, device, wanted);
  const auto plain = load_bundle(model, at::kCPU, wanted);
  for (const char* key : {"image_size", "img_size"}) {
    if (plain.config.contains(key)) wanted.config_overrides[key] = size;
  }
  if (wanted.config_overrides.empty() && !takes(plain, "W")) throw UsageError("--size: " + model + " takes no pictures (its config names no image size)");
  return load_bundle(model, device, wanted);
}

// `size`: what --size asks for, or 0. Networks for pictures of any size then take what their preprocessor makes.
int64_t picture_size(const Bundle& bundle, int64_t size) {
  for (const auto& spec : bundle.entry->inputs(bundle.config)) {
    if (spec.name != "image") continue;
    if (spec.shape.back() != "W") return dimension(spec.shape.back(), {}, bundle.config);
    const auto transform = image_transform(bundle);
    return size > 0 ? size : transform.do_center_crop ? transform.crop_width : transform.width;
  }
  return 0;
}

void check(const Options& options) {
  for (const auto& dtype : options.dtypes) {
    const auto& known = dtype_names();
    if (std::find(known.begin(), known.end(), dtype) == known.end()) throw UsageError("--dtype names '" + dtype.substr(0, 80) + "'; expected some of " + join(known));
  }
  for (const auto* list : {&options.batches, &options.lengths, &options.sizes}) {
    for (const int64_t value : *list) {
      if (value < 1 || value > (int64_t{1} << 24)) throw UsageError("batch, length and size must lie in 1 to 2^24; seen " + std::to_string(value));
    }
  }
  if (options.markdown && options.csv) throw UsageError("--markdown and --csv exclude each other");
}

std::vector<at::Device> chosen_devices(const Options& options, const Common& common) {
  if (options.devices.empty()) return {common.resolved_device()};
  std::vector<at::Device> devices;
  for (const auto& name : options.devices) {
    Common one = common;
    one.device = name;
    devices.push_back(one.resolved_device());
  }
  return devices;
}

std::vector<Result> measure_all(const Options& options, const Common& common) {
  const auto sizes = options.sizes.empty() ? std::vector<int64_t>{0} : options.sizes;
  const auto devices = chosen_devices(options, common);
  std::vector<Result> results;
  Progress progress("bench", static_cast<int64_t>(options.models.size() * devices.size() * options.dtypes.size() * sizes.size()), "networks");
  for (const auto& model : options.models) {
    for (const auto& device : devices) {
      for (const auto& dtype : options.dtypes) {
        for (const int64_t size : sizes) {
          const Bundle bundle = load(model, device, dtype, size, options);
          const auto lengths = takes(bundle, "T") ? options.lengths : std::vector<int64_t>{0};
          for (const int64_t batch : options.batches) {
            for (const int64_t length : lengths) {
              results.push_back(measure(bundle, {model, dtype, device, batch, length, picture_size(bundle, size)}, options));
            }
          }
          progress.add(1, model);
        }
      }
    }
  }
  return results;
}

// ---- printing ----

Json describe(const Result& result) {
  const auto& c = result.what;
  Json json = {{"model", c.model}, {"device", c.device.str()}, {"dtype", c.dtype}, {"batch", c.batch}};
  if (c.length > 0) json["length"] = c.length;
  if (c.size > 0) json["size"] = c.size;
  if (!result.error.empty()) {
    json["error"] = result.error;
    return json;
  }
  json.update({{"runs", result.runs}, {"mean_seconds", result.mean}, {"deviation_seconds", result.deviation},
               {"median_seconds", result.median}, {"fastest_seconds", result.fastest},
               {"throughput", static_cast<double>(c.batch) / result.mean}, {"peak_bytes", result.peak_bytes}, {"cuda_graph", result.graph_difference.has_value()}});
  if (result.graph_difference) json["cuda_graph_difference"] = *result.graph_difference;
  return json;
}

Table table_of(const std::vector<Result>& results) {
  Table table({{"model"}, {"device"}, {"dtype"}, {"batch", true}, {"length/size", true}, {"mean ms", true}, {"dev", true}, {"median ms", true},
               {"samples/s", true}, {"peak memory", true}, {"runs", true}});
  for (const auto& result : results) {
    const auto& c = result.what;
    const int64_t extent = std::max(c.length, c.size);
    const std::string where = extent > 0 ? std::to_string(extent) : "-";
    if (!result.error.empty()) {
      table.add({c.model, c.device.str(), c.dtype, std::to_string(c.batch), where, "failed: " + result.error, "", "", "", "", ""});
      continue;
    }
    table.add({c.model, c.device.str(), c.dtype, std::to_string(c.batch), where, fixed_text(result.mean * 1e3, 3), fixed_text(result.deviation * 1e3, 3),
               fixed_text(result.median * 1e3, 3), fixed_text(static_cast<double>(c.batch) / result.mean, 1), bytes_text(result.peak_bytes),
               std::to_string(result.runs)});
  }
  return table;
}

Json environment(const Options& options) {
  return {{"mode", options.mode}, {"cpu", cpu_name()}, {"gpus", nvidia_device_names()}, {"threads", at::get_num_threads()}, {"linear_kernel", linear_kernel_name()},
          {"zoo", ZOO_VERSION}, {"libtorch", TORCH_VERSION}, {"warmup", options.warmup}, {"repeat", options.repeat},
          {"min_time", options.min_time}};
}

int show_roofline(const Common& common) {
  const Json json = roofline();
  if (common.json) print_json(json);
  else std::cout << roofline_text(json);
  return 0;
}

int serve(const Options& options, const Common& common) {
  if (options.models.size() != 1 || options.dtypes.size() != 1) throw UsageError("--serve takes one network and one --dtype");
  const Bundle bundle = load(options.models.front(), common.resolved_device(), options.dtypes.front(), 0, options);
  std::cout << Json{{"ready", options.models.front()}, {"resident_bytes", resident_bytes()}, {"peak_bytes", peak_resident_bytes()}}.dump() << std::endl;
  return serve_requests(bundle, std::cin, std::cout, options.graphs);
}

int run(const Options& options, const Common& common) {
  check(options);
  if (options.roofline) return show_roofline(common);
  if (options.models.empty()) throw UsageError("name networks to measure, or ask for --roofline");
  if (options.serve) return serve(options, common);
  const auto results = measure_all(options, common);
  const bool failed = std::any_of(results.begin(), results.end(), [](const Result& r) { return !r.error.empty(); });
  const Json about = environment(options);
  if (common.json) {
    Json list = Json::array();
    for (const auto& result : results) list.push_back(describe(result));
    print_json({{"environment", about}, {"results", list}});
    return failed;
  }
  const Table table = table_of(results);
  if (options.csv) {
    std::cout << table.csv();
    return failed;
  }
  const std::string what = options.mode == "training" ? "training (forward, loss, backward; no optimizer)" : "inference";
  std::vector<std::string> names = {cpu_name()};
  for (const auto& name : nvidia_device_names()) names.push_back(name);
  const std::string head = what + "; " + join(names) + ", " + about["threads"].dump() + " threads, linear kernel " +
                           about["linear_kernel"].get<std::string>() + ", zoo " ZOO_VERSION ", LibTorch " TORCH_VERSION + ", " +
                           std::to_string(options.warmup) + " runs of warm-up left out; peak memory is the whole process's on the CPU, the allocator's on a GPU";
  std::cout << head << "\n\n" << (options.markdown ? table.markdown() : table.text());
  return failed;
}

Action declare(CLI::App& command, Common& common) {
  auto options = std::make_shared<Options>();
  command.add_option("X", options->models, "checkpoint folders or name[:variant]");
  command.add_option("--batch", options->batches, "batch sizes, e.g. 1,8,32")->delimiter(',')->capture_default_str();
  command.add_option("--length", options->lengths, "tokens in a text, e.g. 32,128")->delimiter(',')->capture_default_str();
  command.add_option("--size", options->sizes, "side of the pictures in pixels; default: the network's own")->delimiter(',');
  command.add_option("--dtype", options->dtypes, "float32, bfloat16, float16; on a CPU also int8, int8-weights, int4-weights, and these and bfloat16 are those of the linear layers alone")->delimiter(',')->capture_default_str();
  command.add_option("--devices", options->devices, "several devices, e.g. cpu,cuda; default: --device")->delimiter(',');
  command.add_option("--mode", options->mode, "inference or training")->check(CLI::IsMember({"inference", "training"}))->capture_default_str();
  command.add_option("--task", options->task, "the head to measure; default: the checkpoint's own");
  command.add_option("--repeat", options->repeat, "runs that count, at least")->check(CLI::Range(1, 1000000))->capture_default_str();
  command.add_option("--warmup", options->warmup, "runs before that, left out")->check(CLI::Range(0, 1000000))->capture_default_str();
  command.add_option("--min-time", options->min_time, "go on until the runs that count took this many seconds")->check(CLI::Range(0.0, 3600.0))->capture_default_str();
  command.add_flag("!--no-graphs", options->graphs, "on a GPU: launch every kernel anew instead of replaying the forward or the training step as a CUDA graph");
  command.add_flag("--markdown", options->markdown, "a Markdown table");
  command.add_flag("--csv", options->csv, "CSV");
  command.add_flag("--roofline", options->roofline, "instead: this machine's memory bandwidth, and the products of linear layers by precision");
  command.add_flag("--serve", options->serve, "instead: read pieces of work from standard input, one JSON object a line (tests/bench/peers)");
  return [options, &common] { return run(*options, common); };
}

}  // namespace bench_detail

Verb bench_verb() {
  return {"bench", "time networks over batch sizes, lengths, element types and devices",
          "  zoo bench bert:minilm-l6 --batch 1,8 --length 32,128\n"
          "  zoo bench vit:base_patch16_224 cct:cct_7_3x1_32 --batch 8 --markdown\n"
          "  zoo bench FOLDER --mode training --dtype float32,bfloat16 --json\n"
          "  zoo bench FOLDER --dtype fp32,bf16,int8 --batch 1,8\n"
          "  zoo bench --roofline\n",
          bench_detail::declare};
}

}  // namespace zoo::app
