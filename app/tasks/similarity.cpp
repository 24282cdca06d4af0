// Similarity: how close are two sentences? Vectors of both (app/tasks/sentence_encoder.h), compared by their cosine.
// Data: tables of sentence1, sentence2, score, such as STS-B; figures: Spearman and Pearson correlation of cosine and score.
#include <algorithm>
#include <cmath>
#include <iostream>
#include <numeric>
#include <unordered_map>

#include "app/cli.h"
#include "app/tasks/correlation.h"
#include "app/tasks/labelled_text.h"
#include "app/tasks/sentence_encoder.h"
#include "app/tasks/sentence_losses.h"
#include "app/tasks/text_predictions.h"
#include "data/table_file.h"
#include "models/names.h"

namespace zoo::app {
namespace similarity_detail {

struct Pairs {
  std::string file;
  std::vector<std::string> first, second;
  std::vector<double> scores;
};

std::vector<std::string> wanted_columns(const Json& options) {
  std::vector<std::string> names;
  const std::string text = options.value("columns", "");
  for (size_t begin = 0; !text.empty() && begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    names.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  if (!names.empty() && names.size() != 2 && names.size() != 3)
    throw UsageError("columns names " + std::to_string(names.size()) + " columns; expected sentence1,sentence2,score (score is "
                     "needed to train and evaluate only)");
  return names;
}

// Where both sentences and the score stand: as named, else under their usual names, else the first three columns.
std::vector<size_t> choose_columns(const data::Table& table, const Json& options, bool need_scores) {
  std::vector<size_t> places;
  try {
    for (const auto& name : wanted_columns(options)) places.push_back(table.column(name));
  } catch (const UsageError&) {
    throw;
  } catch (const std::invalid_argument& error) {
    throw UsageError(error.what());
  }
  const auto first = table.find_column("sentence1"), second = table.find_column("sentence2");
  if (places.empty() && first && second) {
    places = {*first, *second};
    for (const char* name : {"score", "similarity_score", "label"}) {
      if (places.size() == 2 && table.find_column(name)) places.push_back(*table.find_column(name));
    }
  }
  if (places.empty()) {
    for (size_t i = 0; i < std::min<size_t>(3, table.columns.size()); ++i) places.push_back(i);
  }
  if (places.size() < (need_scores ? 3 : 2))
    throw UsageError(table.name + ": two columns of sentences" + (need_scores ? " and one of scores" : "") +
                     " are needed; it has: " + join(table.columns) + " (choose with --columns sentence1,sentence2,score)");
  return places;
}

data::TableOptions table_options(const Json& options, int64_t limit) {
  using Header = data::TableOptions::Header;
  data::TableOptions how;
  how.header = Header::detect;
  how.numeric_column = 2;
  how.limit = limit;
  if (options.contains("header")) how.header = options.at("header").dump().find("true") != std::string::npos ? Header::yes : Header::no;
  return how;
}

Pairs read_pairs(const std::filesystem::path& file, const Json& options, int64_t limit) {
  const auto table = data::read_table(file, table_options(options, limit));
  const auto places = choose_columns(table, options, /*need_scores=*/true);
  Pairs pairs;
  pairs.file = file.string();
  for (size_t i = 0; i < table.rows.size(); ++i) {
    const auto& row = table.rows[i];
    pairs.first.push_back(row[places[0]]);
    pairs.second.push_back(row[places[1]]);
    const auto score = data::parse_number(row[places[2]]);
    if (!score)
      throw std::runtime_error(pairs.file + ":" + std::to_string(table.lines[i]) + ": score '" + row[places[2]].substr(0, 80) +
                               "' is not a number (choose columns with --columns sentence1,sentence2,score)");
    pairs.scores.push_back(*score);
  }
  return pairs;
}

// What a score of "the same" is, so that targets lie in 0 .. 1: told, else the smallest usual scale that holds all scores.
double score_scale(const std::vector<double>& scores, const Json& options) {
  const auto told = options.find("score_scale");
  if (told != options.end()) {
    if (!told->is_number() || !(told->get<double>() > 0)) throw UsageError("score_scale is " + told->dump() + "; a number above 0 is expected");
    return told->get<double>();
  }
  const double largest = scores.empty() ? 1.0 : *std::max_element(scores.begin(), scores.end());
  for (const double usual : {1.0, 5.0, 10.0, 100.0})
    if (largest <= usual) return usual;
  return largest;
}

// Sentences joined by pairs that match belong together, over any number of steps: [2N], first sentences first.
std::vector<int64_t> match_groups(const Pairs& pairs, double scale) {
  std::vector<int64_t> parent;
  std::unordered_map<std::string_view, int64_t> ids;
  const auto id_of = [&](const std::string& text) {
    const auto [place, fresh] = ids.emplace(text, int64_t(parent.size()));
    if (fresh) parent.push_back(place->second);
    return place->second;
  };
  const auto root = [&](int64_t id) {
    while (parent[id] != id) id = parent[id] = parent[parent[id]];
    return id;
  };
  const size_t count = pairs.first.size();
  std::vector<int64_t> groups(2 * count);
  for (size_t i = 0; i < count; ++i) {
    groups[i] = id_of(pairs.first[i]);
    groups[count + i] = id_of(pairs.second[i]);
    if (pairs.scores[i] / scale >= 0.5) parent[root(groups[i])] = root(groups[count + i]);
  }
  for (auto& group : groups) group = root(group);
  return groups;
}

class PairDataset : public Dataset {
 public:
  PairDataset(Pairs pairs, const Bundle& bundle, std::string split, const Json& options)
      : pairs_(std::move(pairs)), split_(std::move(split)), settings_(sentence_settings(bundle, options)),
        tokenizer_(tokenizer_of(bundle)), pad_id_(pad_id_of(bundle)), scale_(score_scale(pairs_.scores, options)),
        groups_(match_groups(pairs_, scale_)) {}

  int64_t size() const override { return int64_t(pairs_.first.size()); }
  int64_t length(int64_t index) const override { return int64_t(pairs_.first[index].size() + pairs_.second[index].size()); }
  int64_t batch_size() const override { return 256; }
  std::string split() const override { return split_; }
  std::string describe(int64_t index) const override { return pairs_.first[index] + " | " + pairs_.second[index]; }

  // Distinct sentences of both sides, longest first, as one batch of tokens; "first" and "second" [B] say which row is
  // whose, "labels" [B] the scores in 0 .. 1, "groups" [2B] which sentences belong together.
  Tensors get(std::span<const int64_t> indices, bool /*training*/, uint64_t /*seed*/) const override {
    const size_t count = indices.size();
    std::vector<std::string> texts;
    std::unordered_map<std::string_view, int64_t> seen;
    std::vector<int64_t> places, groups;
    std::vector<double> labels;
    for (size_t i = 0; i < 2 * count; ++i) {
      const int64_t index = indices[i % count];
      const auto& text = i < count ? pairs_.first[index] : pairs_.second[index];
      const auto [place, fresh] = seen.emplace(text, int64_t(texts.size()));
      if (fresh) texts.push_back(prepare_sentence(text, settings_));
      places.push_back(place->second);
      groups.push_back(groups_[i < count ? index : size() + index]);
      if (i < count) labels.push_back(pairs_.scores[index] / scale_);
    }
    Tensors batch = pad_longest_first(texts, places);
    const auto both = at::tensor(places, at::kLong).view({2, int64_t(count)});
    batch["first"] = both[0];
    batch["second"] = both[1];
    batch["labels"] = at::tensor(labels, at::kFloat);
    batch["groups"] = at::tensor(groups, at::kLong);
    put_settings(settings_, batch);
    return batch;
  }

 private:
  // `places` (indices into texts) become indices of rows.
  Tensors pad_longest_first(const std::vector<std::string>& texts, std::vector<int64_t>& places) const {
    const auto encodings = encode_texts(tokenizer_, texts, {}, settings_.max_length);
    std::vector<int64_t> order(texts.size()), row_of(texts.size());
    std::iota(order.begin(), order.end(), int64_t{0});
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return encodings[a].ids.size() > encodings[b].ids.size(); });
    std::vector<const tokenizers::Encoding*> rows;
    for (size_t row = 0; row < order.size(); ++row) {
      rows.push_back(&encodings[order[row]]);
      row_of[order[row]] = int64_t(row);
    }
    for (auto& place : places) place = row_of[place];
    return pad_encodings(rows, pad_id_);
  }

  Pairs pairs_;
  std::string split_;
  SentenceSettings settings_;
  const tokenizers::Tokenizer& tokenizer_;
  int64_t pad_id_;
  double scale_;
  std::vector<int64_t> groups_;
};

Json number_or_null(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

class PairMetrics : public Metrics {
 public:
  void add(const Tensors& outputs, const Tensors& batch, std::span<const int64_t> indices) override {
    const auto cosines = outputs.at("cosine").to(at::kCPU, at::kDouble), scores = batch.at("labels").to(at::kCPU, at::kDouble);
    for (size_t i = 0; i < indices.size(); ++i) {
      indices_.push_back(indices[i]);
      cosines_.push_back(cosines.const_data_ptr<double>()[i]);
      scores_.push_back(scores.const_data_ptr<double>()[i]);
    }
  }

  Json result() const override {
    double squares = 0;
    for (size_t i = 0; i < scores_.size(); ++i) squares += (cosines_[i] - scores_[i]) * (cosines_[i] - scores_[i]);
    return {{"spearman", number_or_null(spearman(cosines_, scores_))},
            {"pearson", number_or_null(pearson(cosines_, scores_))},
            {"loss", number_or_null(squares / std::max<double>(1, double(scores_.size())))},
            {"samples", scores_.size()}};
  }

  // The pairs whose place in the order of cosines is farthest from their place in the order of scores.
  Json details() const override {
    const auto by_cosine = average_ranks(cosines_), by_score = average_ranks(scores_);
    std::vector<size_t> order(scores_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return std::abs(by_cosine[a] - by_score[a]) > std::abs(by_cosine[b] - by_score[b]);
    });
    Json worst = Json::array();
    for (size_t i = 0; i < std::min<size_t>(32, order.size()); ++i)
      worst.push_back({{"index", indices_[order[i]]}, {"score", scores_[order[i]]}, {"cosine", cosines_[order[i]]}});
    return {{"worst", worst}};
  }

 private:
  std::vector<int64_t> indices_;
  std::vector<double> cosines_, scores_;
};

// Without a column of scores to tell by, a first line is a header when it names the columns.
bool names_columns(const std::string& file, const Json& options) {
  if (std::filesystem::path(file).extension() == ".jsonl") return true;
  std::vector<std::string> first, wanted = wanted_columns(options);
  if (wanted.empty()) wanted = {"sentence1", "sentence2"};
  data::CsvReader(file, 0).next(first);
  return std::all_of(wanted.begin(), wanted.end(), [&](const auto& name) { return std::find(first.begin(), first.end(), name) != first.end(); });
}

// Pairs of sentences as inputs: --input with --pair, then the rows of tables, which stay in their files.
class PairInputs {
 public:
  explicit PairInputs(const RunOptions& options) {
    auto files = options.inputs;
    const std::string second = options.options.value("pair", "");
    if (second.empty() && names_file(options.text)) files.insert(files.begin(), options.text);
    else if (!options.text.empty()) argument_ = {options.text, "argument", second};
    if (!argument_.text.empty() && second.empty()) throw UsageError("similarity needs a second sentence: --input \"one\" --pair \"other\"");
    for (const auto& file : files) {
      data::TableOptions how = table_options(options.options, 0);
      if (how.header == data::TableOptions::Header::detect && names_columns(file, options.options)) how.header = data::TableOptions::Header::yes;
      tables_.push_back(std::make_unique<data::TableFile>(file, how));
      places_.push_back(choose_columns(tables_.back()->head(), options.options, /*need_scores=*/false));
    }
  }
  int64_t total() const {
    int64_t total = argument_.text.empty() ? 0 : 1;
    for (const auto& table : tables_) total += table->size();
    return total;
  }
  bool next(TextInput& input) {
    if (!argument_.text.empty()) {
      input = std::exchange(argument_, {});
      return true;
    }
    for (; table_ < tables_.size(); ++table_, row_ = 0) {
      const auto& table = *tables_[table_];
      if (row_ == table.size()) continue;
      auto record = table.row(row_++);
      const auto& places = places_[table_];
      input = {std::move(record[places[0]]), table.head().name, std::move(record[places[1]])};
      return true;
    }
    return false;
  }

 private:
  TextInput argument_;
  std::vector<std::unique_ptr<data::TableFile>> tables_;
  std::vector<std::vector<size_t>> places_;  // of the sentences, by table
  size_t table_ = 0;
  int64_t row_ = 0;
};

RunInputs run_pairs(const RunOptions& options) {
  const auto pairs = std::make_shared<PairInputs>(options);
  return {[pairs](TextInput& input) { return pairs->next(input); }, pairs->total()};
}

std::vector<OutputRow> rows_of(Bundle& bundle, const SentenceSettings& settings, const std::vector<TextInput>& window, int64_t batch_size) {
  std::vector<std::string> texts;
  for (const auto& input : window) texts.push_back(input.text);
  for (const auto& input : window) texts.push_back(input.pair);
  const auto sides = normalize_rows(encode_sentences(bundle, settings, texts, "", batch_size)).chunk(2);
  const at::Tensor cosines = (sides[0] * sides[1]).sum(1).contiguous();
  std::vector<OutputRow> rows;
  for (size_t i = 0; i < window.size(); ++i) {
    const std::string &first = window[i].text, &second = window[i].pair;
    const double cosine = cosines.const_data_ptr<float>()[i];
    rows.push_back({{{"sentence1", first}, {"sentence2", second}, {"cosine", cosine}}, probability_text(cosine) + "  " + first + " | " + second + "\n",
                    {{first, second, probability_text(cosine)}}});
  }
  return rows;
}

class Similarity : public Task {
 public:
  std::string name() const override { return "similarity"; }
  std::vector<std::string> option_names() const override {
    return {"columns", "header", "score_scale", "max_length", "pooling", "normalize", "prompt", "prompt_name", "loss", "scale", "margin", "temperature"};
  }
  std::string head() const override { return "embedding"; }
  std::string primary_metric() const override { return "spearman"; }
  std::unique_ptr<Metrics> metrics(const Bundle&) const override { return std::make_unique<PairMetrics>(); }

  std::unique_ptr<Dataset> open(const std::filesystem::path& data, const Bundle& bundle, const DataOptions& options) const override {
    const auto file = split_file(data, options.split, {".csv", ".tsv", ".jsonl"});
    auto pairs = read_pairs(file.path, options.options, options.limit);
    return std::make_unique<PairDataset>(std::move(pairs), bundle, file.split, options.options);
  }

  Tensors forward(Model& model, const Tensors& batch) const override {
    const auto settings = settings_of(batch);
    // Runs of one length are what a CPU likes best; training and GPUs take the batch in one call.
    const bool in_runs = !model.is_training() && batch.at("tokens").is_cpu();
    const auto rows = in_runs ? sentence_vectors_by_length(model, batch, settings) : sentence_vectors(model, batch, settings);
    const auto first = rows.index_select(0, batch.at("first")), second = rows.index_select(0, batch.at("second"));
    return {{"first", first}, {"second", second}, {"cosine", (normalize_rows(first) * normalize_rows(second)).sum(1)}};
  }

  at::Tensor loss(const Tensors& outputs, const Tensors& batch, const Json& options) const override {
    return sentence_loss(outputs, batch, options);
  }

  bool resumes() const override { return true; }
  Json run(Bundle& bundle, const RunOptions& options) const override {
    const auto settings = sentence_settings(bundle, options.options);
    OutputForms forms;
    forms.head = {{"task", "similarity"}, {"pooling", settings.describe()}};
    forms.key = "pairs";
    forms.header = {"sentence1", "sentence2", "cosine"};
    return run_predictions(bundle, options, std::move(forms), run_pairs(options), "no sentences: give --input \"one\" --pair \"other\", or .csv, .tsv or .jsonl files of pairs",
                           [&](const auto& window, const auto& done) {
      auto rows = rows_of(bundle, settings, window, options.batch_size);
      done(static_cast<int64_t>(rows.size()));
      return rows;
    });
  }
};

}  // namespace similarity_detail

const Task& similarity_task() {
  static const similarity_detail::Similarity task;
  return task;
}

}  // namespace zoo::app
