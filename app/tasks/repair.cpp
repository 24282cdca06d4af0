// Program repair in MultiMend's manner (Gharibi et al., 2025, arXiv:2501.16044; github.com/h4iku/MultiMend, 23478ba): faulty lines, lines
// of the same file that resemble them, and their function go in; patches come out, ranked by beam search, joined over hunks, and, for
// QuixBugs, tried against its tests.
#include <ATen/ATen.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <iostream>

#include "app/cli.h"
#include "app/engine/generation.h"
#include "app/files.h"
#include "app/report/progress.h"
#include "app/tasks/option_values.h"
#include "app/tasks/python_tests.h"
#include "app/tasks/repair_bugs.h"
#include "app/tasks/repair_patches.h"
#include "app/tasks/sentence_encoder.h"
#include "app/tasks/text_batches.h"
#include "app/tasks/text_pairs.h"
#include "data/csv.h"

namespace zoo::app {
namespace repair_detail {
namespace fs = std::filesystem;

constexpr int64_t kBeams = 10, kMostTokens = 256, kRetrieved = 5;  // the reference: 100 beams
constexpr double kLeastCosine = 0.5;
constexpr size_t kGreedyTries = 20;  // candidates of a hunk that greedy assembly tries

struct Settings {
  std::string prefix, programs, correct, cases, retriever;
  int64_t retrieved = kRetrieved, candidates = 0;
  double least_cosine = kLeastCosine;
  PythonTestOptions tests;
};

Settings settings_of(const Json& options) {
  Settings settings;
  settings.prefix = text_option(options, "language", "Python");
  settings.programs = text_option(options, "buggy");
  settings.correct = text_option(options, "correct");
  settings.cases = text_option(options, "tests");
  settings.retriever = text_option(options, "retriever");
  settings.retrieved = count_option(options, "retrieved", kRetrieved);
  settings.least_cosine = number_option(options, "least_cosine", kLeastCosine, -1, 1);
  settings.candidates = count_option(options, "candidates", 1 << 20);
  settings.tests.python = text_option(options, "python", settings.tests.python);
  settings.tests.case_seconds = number_option(options, "case_seconds", settings.tests.case_seconds, 0.01, 3600);
  settings.tests.limits.seconds = number_option(options, "test_seconds", settings.tests.limits.seconds, 0.1, 36000);
  settings.tests.limits.memory = static_cast<uint64_t>(number_option(options, "test_memory_mb", 1024, 64, 1 << 20)) << 20;
  if (!settings.cases.empty() && settings.programs.empty()) throw UsageError("option tests needs option buggy: the folder of the programs that are repaired");
  return settings;
}

std::vector<Bug> bugs_of(const RunOptions& options, const Settings& settings) {
  std::vector<Bug> bugs;
  for (const auto& input : options.inputs)
    for (auto& bug : read_bugs(input)) bugs.push_back(std::move(bug));
  if (bugs.empty() && !settings.programs.empty() && !settings.correct.empty()) bugs = compare_programs(settings.programs, settings.correct);
  if (bugs.empty()) throw UsageError("no bugs: give files in MultiMend's form (docs/repair.md), or two folders of programs, --option buggy=DIR --option correct=DIR");
  return bugs;
}

// ---- retrieval ----

class Retriever {
 public:
  explicit Retriever(const Settings& settings, at::Device device) : settings_(settings) {
    if (settings.retriever.empty()) return;
    BundleOptions wanted;
    wanted.task = "embedding";
    bundle_ = load_bundle(settings.retriever, device, wanted);
    sentences_ = sentence_settings(bundle_, Json::object());
  }
  // The lines of the rest of the file that resemble the removed ones most, best first.
  std::vector<std::string> lines(const Hunk& hunk) const {
    const std::string query = single_blanks(hunk.removed);
    const bool telling = std::any_of(query.begin(), query.end(), [](unsigned char c) { return !std::ispunct(c) && !std::isspace(c); });
    std::vector<std::string> all = lines_to_search(hunk);
    if (!bundle_.model || !telling || all.empty()) return {};
    all.push_back(query);
    const at::Tensor vectors = normalize_rows(encode_sentences(bundle_, sentences_, all, ""));
    const auto count = static_cast<int64_t>(all.size()) - 1;
    const at::Tensor cosines = vectors.narrow(0, 0, count).mv(vectors[count]);
    const auto [best, order] = cosines.topk(std::min(settings_.retrieved, count));
    std::vector<std::string> found;
    for (int64_t i = 0; i < best.size(0); ++i)
      if (best[i].item<double>() >= settings_.least_cosine) found.push_back(all[static_cast<size_t>(order[i].item<int64_t>())]);
    return found;
  }

 private:
  const Settings& settings_;
  Bundle bundle_;
  SentenceSettings sentences_;
};

// ---- writing ----

GenerationOptions patch_generation(const Bundle& bundle, const Json& options) {
  Json wanted = {{"num_beams", kBeams}, {"max_new_tokens", kMostTokens}, {"early_stopping", true}};
  for (const auto& key : generation_keys())
    if (key != "max_length" && options.contains(key)) wanted[key] = options.at(key);
  if (!wanted.contains("num_return_sequences")) wanted["num_return_sequences"] = wanted.at("num_beams");
  const auto path = bundle.folder / "generation_config.json";
  const Json stored = !bundle.folder.empty() && on_disk(path) ? read_json(path) : Json::object();
  try {
    GenerationOptions how = generation_options(bundle.config, stored, wanted);
    if (how.pad < 0) how.pad = pad_id_of(bundle);
    return how;
  } catch (const std::invalid_argument& error) {
    throw UsageError(error.what());
  }
}

// </s> in a program is no end of the text.
std::string without_end(const tokenizers::Tokenizer& tokenizer, std::string text) {
  if (!tokenizer.eos_id() || !tokenizer.unk_id()) return text;
  const std::string end = tokenizer.id_to_token(*tokenizer.eos_id()), unknown = tokenizer.id_to_token(*tokenizer.unk_id());
  for (size_t at = text.find(end); at != std::string::npos && end != unknown && !end.empty(); at = text.find(end, at + unknown.size())) text.replace(at, end.size(), unknown);
  return text;
}

struct Written {
  std::string input;
  std::vector<std::string> retrieved;
  std::vector<Candidate> candidates;
};

Written write_for(Bundle& bundle, const Hunk& hunk, const Settings& settings, const Retriever& retriever, const GenerationOptions& how, int64_t limit) {
  Written written;
  written.retrieved = retriever.lines(hunk);
  const auto& tokenizer = tokenizer_of(bundle);
  written.input = without_end(tokenizer, repair_input(settings.prefix, hunk, written.retrieved));
  const auto encodings = encode_texts(tokenizer, std::vector<std::string>{written.input}, {}, limit);
  std::vector<std::pair<std::string, double>> texts;
  const auto results = generate(*bundle.model, to_device(pad_encodings(encodings, pad_id_of(bundle)), bundle.device), how);
  for (const auto& one : results.front())
    texts.emplace_back(tokenizer.decode(one.ids, /*skip_special=*/true), one.score);
  written.candidates = rank_candidates(texts, hunk);
  if (static_cast<int64_t>(written.candidates.size()) > settings.candidates) written.candidates.resize(static_cast<size_t>(settings.candidates));
  return written;
}

// ---- trying ----

Json outcome_json(const TestOutcome& outcome) {
  return {{"passed", outcome.passed}, {"failed", outcome.failed}, {"loads", outcome.loads}, {"timed_out", outcome.timed_out}, {"plausible", outcome.plausible()}};
}

// The hunks and texts of a partial patch.
std::string partly_applied(const std::string& source, const Bug& bug, const std::vector<PartPatch>& parts) {
  std::vector<Hunk> hunks;
  std::vector<std::string> texts;
  for (const auto& part : parts) hunks.push_back(bug.hunks[part.hunk]), texts.push_back(part.text);
  return apply_patch(source, hunks, texts);
}

// Tries the patches in their order until one passes all tests; returns what the document says of each tried one.
Json try_patches(PythonTests& tests, const Bug& bug, const std::string& source, const std::vector<Patch>& patches, const std::vector<std::vector<Candidate>>& of_hunks,
                 std::optional<std::string>& repaired) {
  Json tried = Json::array();
  for (const auto& patch : patches) {
    const std::string text = apply_patch(source, bug.hunks, patch.texts);
    const TestOutcome outcome = tests.run(bug.id, text);
    Json one = {{"texts", patch.texts}, {"rank", patch.rank}, {"score", patch.score}};
    one.update(outcome_json(outcome));
    tried.push_back(std::move(one));
    if (!outcome.plausible()) continue;
    repaired = text;
    return tried;
  }
  if (of_hunks.size() < 2) return tried;
  const auto failing = [&](const std::vector<PartPatch>& parts) { return tests.run(bug.id, partly_applied(source, bug, parts)).failed; };
  const auto parts = greedy_patches(of_hunks, failing, kGreedyTries);
  const std::string text = partly_applied(source, bug, parts);
  const TestOutcome outcome = tests.run(bug.id, text);
  Json one = {{"parts", Json::array()}};
  for (const auto& part : parts) one["parts"].push_back({{"hunk", part.hunk}, {"text", part.text}});
  one.update(outcome_json(outcome));
  tried.push_back(std::move(one));
  if (outcome.plausible()) repaired = text;
  return tried;
}

Json hunk_json(const Hunk& hunk, const Written& written) {
  Json candidates = Json::array();
  for (const auto& one : written.candidates) {
    candidates.push_back({{"patch", one.patch}, {"rank", one.rank}, {"score", one.score}});
    if (hunk.known) candidates.back()["exact_match"] = one.exact;
  }
  return {{"removed", hunk.removed}, {"start", hunk.start}, {"length", hunk.length}, {"input", written.input}, {"retrieved", written.retrieved}, {"candidates", std::move(candidates)}};
}

struct Counts {
  int64_t bugs = 0, exact = 0, known = 0, tried = 0, plausible = 0;
};

Json repair_bug(Bundle& bundle, const Bug& bug, const Settings& settings, const Retriever& retriever, const GenerationOptions& how, int64_t limit, PythonTests* tests,
                Counts& counts) {
  Json document = {{"id", bug.id}, {"hunks", Json::array()}};
  std::vector<std::vector<Candidate>> of_hunks;
  bool known = true, exact = true;
  for (const Hunk& hunk : bug.hunks) {
    const Written written = write_for(bundle, hunk, settings, retriever, how, limit);
    known = known && hunk.known;
    exact = exact && std::any_of(written.candidates.begin(), written.candidates.end(), [](const Candidate& one) { return one.exact; });
    document["hunks"].push_back(hunk_json(hunk, written));
    of_hunks.push_back(written.candidates);
  }
  ++counts.bugs;
  counts.known += known;
  counts.exact += known && exact;
  const auto patches = assemble_patches(of_hunks);
  if (tests && tests->has(bug.id)) {
    std::optional<std::string> repaired;
    document["tried"] = try_patches(*tests, bug, program_text(fs::path(settings.programs) / (bug.id + ".py")), patches, of_hunks, repaired);
    document["plausible"] = repaired.has_value();
    if (repaired) document["repaired"] = *repaired;
    ++counts.tried;
    counts.plausible += repaired.has_value();
    return document;
  }
  document["patches"] = Json::array();
  for (const auto& patch : patches) document["patches"].push_back({{"texts", patch.texts}, {"rank", patch.rank}, {"score", patch.score}});
  return document;
}

std::string line_of(const Json& bug) {
  std::string line = bug.at("id").get<std::string>() + ": ";
  if (bug.contains("plausible")) line += bug.at("plausible").get<bool>() ? "a patch passes the tests" : "no patch passes the tests";
  else line += std::to_string(bug.at("patches").size()) + " patches";
  for (const Json& hunk : bug.at("hunks"))
    if (!hunk.at("candidates").empty()) line += "\n  " + single_blanks(hunk.at("removed").get<std::string>()) + "\n  -> " + hunk.at("candidates")[0].at("patch").get<std::string>();
  return line + "\n";
}

// ---- training: what was there and what came instead, with its surroundings ----

// The table of a split, and its name; of a folder without a wish the first of test, validation, train.
std::pair<fs::path, std::string> table_of(const fs::path& data, const std::string& split) {
  std::error_code error;
  if (!fs::is_directory(data, error)) {
    if (!fs::is_regular_file(data, error)) throw UsageError(data.string() + ": no such file or folder");
    return {data, ""};
  }
  for (const std::string& name : split.empty() ? std::vector<std::string>{"test", "validation", "train"} : std::vector<std::string>{split})
    for (const char* ending : {".jsonl", ".csv", ".tsv"})
      if (fs::is_regular_file(data / (name + ending), error)) return {data / (name + ending), name};
  throw UsageError(data.string() + ": no " + (split.empty() ? "test" : split) + ".jsonl, .csv or .tsv with columns rem, add, context");
}

// Columns rem, add, context (MultiMend's own data sets) -> texts in pairs, as train_model.py makes them.
TextPairs training_pairs(const fs::path& data, const std::string& split, const Json& options, int64_t limit) {
  const auto [file, found] = table_of(data, split);
  data::TableOptions read;
  read.limit = limit;
  const data::Table table = data::read_table(file, read);
  const size_t removed = table.column("rem"), added = table.column("add");
  const auto context = table.find_column("context");
  TextPairs pairs;
  pairs.file = file.string();
  pairs.split = found;
  const std::string prefix = text_option(options, "language", "Python");
  for (const auto& row : table.rows) {
    Hunk hunk;
    hunk.removed = row[removed];
    hunk.context = context ? row[*context] : "";
    if (single_blanks(row[added]).empty()) continue;  // nothing to learn to write, as the reference
    pairs.sources.push_back(repair_input(prefix, hunk, {}));
    pairs.targets.push_back(single_blanks(row[added]));
  }
  if (pairs.sources.empty()) throw UsageError(pairs.file + ": no rows with something in column add");
  return pairs;
}

class Repair : public Task {
 public:
  std::string name() const override { return "repair"; }
  std::vector<std::string> option_names() const override {
    auto names = pair_option_names();
    names.push_back("language");
    return names;
  }
  std::string head() const override { return "seq2seq"; }
  std::string primary_metric() const override { return seq2seq_task().primary_metric(); }
  bool higher_is_better() const override { return seq2seq_task().higher_is_better(); }

  std::unique_ptr<Dataset> open(const fs::path& data, const Bundle& bundle, const DataOptions& options) const override {
    return pairs_dataset(bundle, training_pairs(data, options.split, options.options, options.limit), options.options);
  }
  at::Tensor loss(const Tensors& outputs, const Tensors& batch, const Json& options) const override { return seq2seq_task().loss(outputs, batch, options); }
  double loss_terms(const Tensors& batch) const override { return seq2seq_task().loss_terms(batch); }
  std::unique_ptr<Metrics> metrics(const Bundle& bundle) const override { return seq2seq_task().metrics(bundle); }
  WrittenTexts write_texts(Bundle& bundle, const Dataset& data, std::span<const int64_t> indices) const override { return seq2seq_task().write_texts(bundle, data, indices); }

  Json run(Bundle& bundle, const RunOptions& options) const override {
    if (!options.out.empty()) refuse_existing(options.out, options.overwrite);
    const Settings settings = settings_of(options.options);
    const auto bugs = bugs_of(options, settings);
    const GenerationOptions how = patch_generation(bundle, options.options);
    const int64_t limit = text_limit(bundle, options.options);
    const Retriever retriever(settings, bundle.device);
    std::optional<PythonTests> tests;
    if (!settings.cases.empty()) tests.emplace(settings.programs, settings.cases, settings.correct, settings.tests);
    Counts counts;
    Json documents = Json::array();
    Progress progress("repair", static_cast<int64_t>(bugs.size()), "bugs");
    for (const Bug& bug : bugs) {
      documents.push_back(repair_bug(bundle, bug, settings, retriever, how, limit, tests ? &*tests : nullptr, counts));
      progress.add(1);
    }
    Json figures = {{"bugs", counts.bugs}};
    if (counts.known > 0) figures["exact_match"] = counts.exact;
    if (tests) {
      figures["tried"] = counts.tried, figures["plausible"] = counts.plausible;
      if (counts.tried > 0 && !tests->network_cut()) spdlog::warn("the kernel allows no network namespace: the tried programs could reach the network");
    }
    Json document = {{"task", "repair"}, {"figures", figures}};
    if (tests) document["sandbox"] = {{"network_cut", tests->network_cut()}, {"seconds", settings.tests.limits.seconds}, {"memory", settings.tests.limits.memory}};
    document["bugs"] = std::move(documents);
    deliver(document, options);
    return document;
  }

 private:
  static void deliver(const Json& document, const RunOptions& options) {
    if (!options.out.empty()) write_output(options.out, document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n", options.overwrite);
    if (options.json) return;
    for (const Json& bug : document.at("bugs")) std::cout << line_of(bug);
    std::cout << document.at("figures").dump() << "\n" << std::flush;
  }
};

}  // namespace repair_detail

const Task& repair_task() {
  static const repair_detail::Repair task;
  return task;
}

}  // namespace zoo::app
