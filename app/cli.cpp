#include "app/cli.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <torch/cuda.h>
#include <torch/version.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <new>

#include "app/completion.h"
#include "app/machine.h"
#include "app/options.h"
#include "app/report/progress.h"
#include "models/names.h"

namespace zoo::app {

const std::vector<Verb>& verbs() {
  static const std::vector<Verb> all = {list_verb(),   info_verb(),    run_verb(),     train_verb(), eval_verb(),   compare_verb(),
                                        verify_verb(), convert_verb(), bench_verb(), doctor_verb(), completion_verb()};
  return all;
}

at::Device Common::resolved_device() const {
  const auto count = [] { return static_cast<int64_t>(torch::cuda::device_count()); };
  if (device == "cpu") return at::kCPU;
  if (device == "auto") return count() > 0 ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU);
  const std::string number = device == "cuda" ? "0" : device.rfind("cuda:", 0) == 0 ? device.substr(5) : "";
  if (number.empty() || number.size() > 3 || number.find_first_not_of("0123456789") != std::string::npos) {
    throw UsageError("--device is '" + device.substr(0, 80) + "'; expected cpu, cuda, cuda:N or auto");
  }
  const int64_t index = std::stoll(number);
  if (count() == 0) {
    throw UsageError("--device is '" + device + "', but LibTorch sees no CUDA device (zoo doctor says why; use --device cpu)");
  }
  if (index >= count()) {
    throw UsageError("--device is '" + device + "'; this machine has CUDA devices 0 to " + std::to_string(count() - 1));
  }
  return at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(index));
}

void Common::apply() const {
  const auto level = spdlog::level::from_str(log_level);
  auto logger = std::make_shared<spdlog::logger>("zoo", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_pattern("zoo: %^%l%$: %v");
  logger->set_level(level);
  spdlog::set_default_logger(std::move(logger));
  Progress::set_quiet(level >= spdlog::level::err);
  // Without a word from the user: one thread for each core. Hyper-threads only get in each other's way in dense arithmetic.
  if (threads > 0) {
    at::set_num_threads(threads);
  } else if (!std::getenv("OMP_NUM_THREADS")) {
    at::set_num_threads(physical_cores());
  }
  at::manual_seed(seed);
  at::globalContext().setAllowTF32CuDNN(false);  // its default: float32 convolutions on CUDA with 10 bits of mantissa, which no one asked for
}

namespace cli_detail {

bool json_printed = false;

std::vector<std::string> verb_names() {
  std::vector<std::string> names;
  for (const auto& verb : verbs()) names.emplace_back(verb.name);
  return names;
}

// The verb is the first word that is not an option; "" when there is none.
std::string chosen_verb(const std::vector<std::string>& words) {
  for (const auto& word : words) {
    if (word.empty() || word[0] != '-') return word;
  }
  return "";
}

std::string footer(const Verb& verb) {
  return std::string("Examples:\n") + verb.examples +
         "\nEvery option can also come from the environment (--log-level: ZOO_LOG_LEVEL) or from --config FILE.json;\n"
         "the command line goes before the environment, the environment before the file.\n";
}

// Parses and runs. Only the chosen verb declares its options, so that start-up does not grow with the program.
int run_program(const std::vector<std::string>& words) {
  CLI::App program("zoo: runs, fine-tunes and evaluates published transformer networks", "zoo");
  program.set_version_flag("--version", std::string("zoo " ZOO_VERSION " (LibTorch " TORCH_VERSION ")"));
  program.require_subcommand(1);
  program.footer("zoo VERB --help shows a verb's options with examples.");
  const std::string chosen = chosen_verb(words);
  Common common;
  Action action;
  CLI::App* command = nullptr;
  for (const auto& verb : verbs()) {
    CLI::App* added = program.add_subcommand(verb.name, verb.summary);
    if (verb.name != chosen) continue;
    command = added;
    action = verb.declare(*command, common);
    add_common_options(*command, common);
    command->footer(footer(verb));
  }
  if (!chosen.empty() && !command) {
    throw UsageError("unknown verb '" + chosen.substr(0, 80) + "'; nearest: " + join(nearest(chosen, verb_names())) +
                     " (known: " + join(verb_names()) + ")");
  }
  if (words.empty()) {
    std::cerr << program.help();
    return 2;
  }
  if (!parse_words(program, command, words)) return 0;  // --help or --version, printed
  common.apply();
  return action();
}

bool asks_for_json(const std::vector<std::string>& words) {
  const char* environment = std::getenv("ZOO_JSON");
  if (environment && *environment && std::string(environment) != "0" && std::string(environment) != "false") return true;
  return std::any_of(words.begin(), words.end(), [](const std::string& word) { return word == "--json" || word == "--json=true"; });
}

int report_failure(const std::string& message, int code, bool json) {
  std::cout.flush();
  std::cerr << "zoo: error: " << message << "\n";
  if (json && !json_printed) print_json({{"error", message}, {"exit_code", code}});
  return code;
}

// LibTorch appends where in its sources the check stands; that says nothing to the user.
std::string first_lines(const c10::Error& error) {
  const std::string text = error.what_without_backtrace();
  const auto cut = text.find("\nException raised from");
  return cut == std::string::npos ? text : text.substr(0, cut);
}

int run_reporting_failures(const std::vector<std::string>& words) {
  const bool json = asks_for_json(words);
  try {
    return run_program(words);
  } catch (const UsageError& error) {
    return report_failure(error.what(), 2, json);
  } catch (const c10::OutOfMemoryError& error) {
    return report_failure("out of memory on the device: " + first_lines(error) + " (use a smaller --batch-size)", 1, json);
  } catch (const c10::Error& error) {
    return report_failure(first_lines(error), 1, json);
  } catch (const std::bad_alloc&) {
    return report_failure("out of memory (use smaller batches or a smaller network; zoo info shows what a network needs)", 1, json);
  } catch (const std::exception& error) {
    return report_failure(error.what(), 1, json);
  }
}

}  // namespace cli_detail

void print_json(const Json& document) {
  cli_detail::json_printed = true;
  std::cout << document.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
}

void print_json_text(std::string_view part) {
  cli_detail::json_printed = true;
  std::cout << part;
}

int main(int argc, char** argv) {
  // A reader that left (zoo list | head) is noticed when writing; a signal would kill the program in the middle of a save.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a write past the file-size limit then fails with a message, like a full disk
  const std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  const int code = cli_detail::run_reporting_failures(words);
  errno = 0;
  if (std::cout.flush() || errno == EPIPE) return code;
  std::cerr << "zoo: error: cannot write to standard output\n";
  return code == 0 ? 1 : code;
}

}  // namespace zoo::app
