// Record linkage: joins two tables by the meaning of their texts, or finds duplicates and clusters in one table.
// LinkTransformer: A Unified Package for Record Linkage with Transformer Language Models (Arora and Dell, 2023,
// arXiv:2309.00789). Reference: github.com/dell-research-harvard/linktransformer @ eb8061d: merge, merge_knn,
// merge_blocking, cluster_rows, dedup_rows.
// Differences: rows of blocks that the other table lacks are left out unless option unmatched=keep; rows that resemble no
// other are clusters of their own (the reference calls them all cluster -1 and then keeps only one of them).
#include <spdlog/spdlog.h>

#include <chrono>
#include <iostream>
#include <map>

#include "app/cli.h"
#include "app/report/progress.h"
#include "app/report/table.h"
#include "app/tasks/clusters.h"
#include "app/tasks/option_values.h"
#include "app/tasks/sentence_encoder.h"
#include "app/tasks/sentence_task.h"
#include "app/tasks/top_k.h"
#include "data/csv.h"
#include "models/names.h"

namespace zoo::app {
namespace linkage_detail {

using Table = data::Table;
using Strings = std::vector<std::string>;

// "name,city" -> places of these columns.
std::vector<size_t> columns_of(const Table& table, const std::string& names) {
  std::vector<size_t> places;
  // A column whose own name holds a comma can be named alone.
  if (const auto whole = table.find_column(names)) return {*whole};
  for (size_t begin = 0; begin <= names.size();) {
    const size_t end = std::min(names.find(',', begin), names.size());
    try {
      places.push_back(table.column(names.substr(begin, end - begin)));
    } catch (const std::invalid_argument& error) {
      throw UsageError(error.what());
    }
    begin = end + 1;
  }
  return places;
}

// The fields of each row in one text, joined by the tokenizer's separator token as the reference does, else by "</s>".
Strings serialize(const Table& table, const std::vector<size_t>& columns, const Bundle& bundle) {
  const auto separator_id = tokenizer_of(bundle).sep_id();
  const std::string separator = separator_id ? tokenizer_of(bundle).id_to_token(*separator_id) : "</s>";
  Strings texts;
  for (const auto& row : table.rows) {
    std::string text;
    for (size_t i = 0; i < columns.size(); ++i) text += (i ? separator : "") + row[columns[i]];
    texts.push_back(std::move(text));
  }
  return texts;
}

at::Tensor unit_vectors(const Bundle& bundle, const SentenceSettings& settings, const Strings& texts, const std::string& title,
                        int64_t batch_size) {
  const auto vectors = encode_sentences(bundle, settings, texts, title, batch_size);
  const c10::InferenceMode inference;
  return normalize_rows(vectors).to(bundle.device);
}

// Rows of a table by the values of its block columns, in order of first appearance.
struct Blocks {
  std::vector<std::vector<int64_t>> rows;
  std::map<Strings, size_t> places;
};

Blocks block_rows(const Table& table, const std::string& names) {
  Blocks blocks;
  const auto columns = names.empty() ? std::vector<size_t>{} : columns_of(table, names);
  for (size_t i = 0; i < table.rows.size(); ++i) {
    Strings key;
    for (const size_t column : columns) key.push_back(table.rows[i][column]);
    const auto [place, fresh] = blocks.places.emplace(std::move(key), blocks.rows.size());
    if (fresh) blocks.rows.emplace_back();
    blocks.rows[place->second].push_back(int64_t(i));
  }
  return blocks;
}

struct Job {
  Table left, right;
  std::string left_on, right_on, block, truth;
  int64_t top_k = 1;
  double threshold = 0;
  bool keep_unmatched = false;
};

Table read_named(const Json& options, const char* key) {
  const std::string path = text_option(options, key);
  if (path.empty()) throw UsageError("linkage needs --" + std::string(key) + " FILE (a .csv, .tsv or .jsonl table)");
  Table table = data::read_table(path);
  if (table.rows.empty()) throw std::runtime_error(path + ": has a header and no rows");
  return table;
}

// Both tables and all column names, checked before any work.
Job read_job(const Json& options) {
  Job job;
  job.left = read_named(options, "left");
  job.right = read_named(options, "right");
  job.left_on = text_option(options, "left_on");
  if (job.left_on.empty()) throw UsageError("linkage needs --left-on COLUMN; " + job.left.name + " has: " + join(job.left.columns));
  job.right_on = text_option(options, "right_on", job.left_on);
  job.block = text_option(options, "block");
  job.truth = text_option(options, "truth");
  job.top_k = options.value("top_k", int64_t{1});
  job.threshold = number_option(options, "threshold", 0.0, -1, 1);
  const auto unmatched = text_option(options, "unmatched", "drop");
  if (unmatched != "drop" && unmatched != "keep") throw UsageError("unmatched is '" + unmatched + "'; drop or keep is expected");
  job.keep_unmatched = unmatched == "keep";
  columns_of(job.left, job.left_on);
  columns_of(job.right, job.right_on);
  for (const auto& names : {job.block, job.truth}) {
    if (!names.empty()) columns_of(job.left, names), columns_of(job.right, names);
  }
  return job;
}

// For every left row its partners, best first: [N, k] tables over all right rows.
TopK match(const Job& job, const at::Tensor& left, const at::Tensor& right) {
  const int64_t count = left.size(0);
  Progress progress("match", count, "rows");
  const auto advance = [&](int64_t rows) { progress.add(rows); };
  if (job.block.empty()) return top_k_rows(left, right, job.top_k, advance);
  const auto left_blocks = block_rows(job.left, job.block), right_blocks = block_rows(job.right, job.block);
  const c10::InferenceMode inference;
  TopK all{at::full({count, job.top_k}, -std::numeric_limits<float>::infinity(), at::kFloat), at::full({count, job.top_k}, -1, at::kLong)};
  for (const auto& [key, place] : left_blocks.places) {
    const auto& rows = left_blocks.rows[place];
    const auto partner = right_blocks.places.find(key);
    if (partner == right_blocks.places.end()) {
      advance(int64_t(rows.size()));
      continue;
    }
    const auto left_rows = at::tensor(rows, at::kLong), right_rows = at::tensor(right_blocks.rows[partner->second], at::kLong);
    const auto found = top_k_rows(left.index_select(0, left_rows.to(left.device())), right.index_select(0, right_rows.to(right.device())),
                                  job.top_k, advance);
    all.scores.index_copy_(0, left_rows, found.scores);
    const auto places = right_rows.index_select(0, found.indices.clamp_min(0).view(-1)).view_as(found.indices);
    all.indices.index_copy_(0, left_rows, places.where(found.indices >= 0, -1));
  }
  return all;
}

std::string score_text(double score) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6f", score);
  return text;
}

// All columns of both sides; names that both have get _x and _y, as pandas.merge names them; then the score.
Strings merged_header(const Job& job) {
  Strings header;
  for (const auto& name : job.left.columns) header.push_back(name + (job.right.find_column(name) ? "_x" : ""));
  for (const auto& name : job.right.columns) header.push_back(name + (job.left.find_column(name) ? "_y" : ""));
  header.push_back("score");
  return header;
}

struct Joined {
  std::vector<Strings> records;  // the header first
  int64_t matched = 0, correct = 0;  // left rows
};

Joined join_rows(const Job& job, const TopK& best) {
  Joined joined;
  joined.records.push_back(merged_header(job));
  const auto* scores = best.scores.const_data_ptr<float>();
  const auto* indices = best.indices.const_data_ptr<int64_t>();
  const size_t truth_left = job.truth.empty() ? 0 : columns_of(job.left, job.truth)[0];
  const size_t truth_right = job.truth.empty() ? 0 : columns_of(job.right, job.truth)[0];
  for (size_t row = 0; row < job.left.rows.size(); ++row) {
    const auto& left = job.left.rows[row];
    bool matched = false;
    for (int64_t rank = 0; rank < job.top_k; ++rank) {
      const size_t place = row * job.top_k + rank;
      if (indices[place] < 0 || scores[place] < job.threshold) break;
      const auto& right = job.right.rows[indices[place]];
      if (rank == 0 && !job.truth.empty()) joined.correct += left[truth_left] == right[truth_right];
      matched = true;
      Strings record = left;
      record.insert(record.end(), right.begin(), right.end());
      record.push_back(score_text(scores[place]));
      joined.records.push_back(std::move(record));
    }
    joined.matched += matched;
    if (matched || !job.keep_unmatched) continue;
    Strings record = left;
    record.resize(left.size() + job.right.columns.size() + 1);
    joined.records.push_back(std::move(record));
  }
  return joined;
}

char delimiter_for(const std::filesystem::path& path) { return path.extension() == ".tsv" || path.extension() == ".tab" ? '\t' : ','; }

// The result to its file; without one a person gets the first rows.
void deliver(const std::vector<Strings>& records, const RunOptions& options) {
  if (!options.out.empty()) {
    std::string text;
    for (const auto& record : records) text += data::csv_record(record, delimiter_for(options.out));
    write_output(options.out, text, options.overwrite);
  } else if (!options.json) {
    constexpr size_t kShown = 20, kWidth = 40;
    std::vector<Column> columns;
    for (const auto& name : records[0]) columns.push_back({name});
    zoo::app::Table table(columns);
    for (size_t i = 1; i < std::min(records.size(), kShown + 1); ++i) {
      Strings cells = records[i];
      for (auto& cell : cells) if (cell.size() > kWidth) cell = cell.substr(0, kWidth) + "...";
      table.add(cells);
    }
    std::cout << table.text();
    if (records.size() > kShown + 1) std::cout << "... " << records.size() - 1 << " rows (all of them: --out FILE.csv)\n";
  }
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

class Linkage : public SentenceTask {
 public:
  std::string name() const override { return "linkage"; }
  std::string head() const override { return "embedding"; }

  Json run(Bundle& bundle, const RunOptions& options) const override {
    if (!options.inputs.empty() || !options.text.empty())
      throw UsageError("linkage takes its tables from --left and --right, not '" + (options.text.empty() ? options.inputs[0] : options.text) + "'");
    if (!options.out.empty()) refuse_existing(options.out, options.overwrite);
    if (!options.format.empty() && options.format != "csv") throw UsageError("linkage: format '" + options.format + "'; csv is the only one");
    const auto settings = sentence_settings(bundle, options.options);
    const bool dedupe = options.options.value("dedupe", false), cluster = options.options.value("cluster", false);
    if (dedupe && cluster) throw UsageError("--dedupe and --cluster exclude each other");
    spdlog::info("sentence vectors: {}", settings.describe());
    return dedupe || cluster ? group_rows(bundle, settings, options, dedupe) : link(bundle, settings, options);
  }

 private:
  Json link(Bundle& bundle, const SentenceSettings& settings, const RunOptions& options) const {
    const Job job = read_job(options.options);
    const auto start = std::chrono::steady_clock::now();
    const auto left = unit_vectors(bundle, settings, serialize(job.left, columns_of(job.left, job.left_on), bundle), "encode left", options.batch_size);
    const auto right = unit_vectors(bundle, settings, serialize(job.right, columns_of(job.right, job.right_on), bundle), "encode right", options.batch_size);
    const auto encoded = std::chrono::steady_clock::now();
    const auto joined = join_rows(job, match(job, left, right));
    const double match_seconds = seconds_since(encoded);
    deliver(joined.records, options);
    const auto rows_left = job.left.rows.size();
    Json document = {{"task", "linkage"}, {"rows_left", rows_left}, {"rows_right", job.right.rows.size()}, {"matched", joined.matched},
                     {"rows_out", joined.records.size() - 1}, {"threshold", job.threshold}, {"top_k", job.top_k}};
    std::string summary = std::to_string(joined.matched) + " of " + std::to_string(rows_left) + " rows matched";
    if (!job.truth.empty()) {
      document["correct"] = joined.correct;
      document["accuracy"] = double(joined.correct) / double(rows_left);
      summary += ", " + std::to_string(joined.correct) + " correctly: accuracy " + fixed_text(100.0 * double(joined.correct) / double(rows_left), 1) + " %";
    }
    document["seconds"] = seconds_since(start);
    document["match_seconds"] = match_seconds;
    document["pooling"] = settings.describe();
    if (!options.out.empty()) document["out"] = options.out.string();
    if (!options.json) std::cout << summary << " (" << duration_text(document["seconds"]) << ")\n";
    return document;
  }

  Json group_rows(Bundle& bundle, const SentenceSettings& settings, const RunOptions& options, bool dedupe) const {
    const Table table = read_named(options.options, "left");
    if (options.options.contains("right")) throw UsageError("--dedupe and --cluster work on one table, --left; leave --right out");
    const std::string on = text_option(options.options, "left_on");
    if (on.empty()) throw UsageError("linkage needs --left-on COLUMN; " + table.name + " has: " + join(table.columns));
    const auto columns = columns_of(table, on);
    const std::string method = text_option(options.options, "cluster_method", "connected");
    const double threshold = number_option(options.options, "threshold", 0.9, -1, 1);
    static const Strings methods = {"connected", "average", "complete", "ward"};
    if (std::find(methods.begin(), methods.end(), method) == methods.end())
      throw UsageError("cluster method '" + method.substr(0, 80) + "' is unknown; nearest: " + join(nearest(method, methods)));
    if (table.find_column("cluster")) throw UsageError(table.name + ": already has a column 'cluster'; rename it first");
    const auto start = std::chrono::steady_clock::now();
    const auto vectors = unit_vectors(bundle, settings, serialize(table, columns, bundle), "encode", options.batch_size);
    std::vector<int64_t> clusters;
    {
      Progress progress("cluster", vectors.size(0), "rows");
      const auto advance = [&](int64_t rows) { progress.add(rows); };
      clusters = method == "connected" ? connected_clusters(vectors, threshold, advance)
                                       : agglomerative_clusters(vectors, threshold, method, advance);
    }
    std::vector<Strings> records = {table.columns};
    records[0].push_back("cluster");
    int64_t next = 0;  // clusters are numbered by their first row, so a new number marks a first row
    for (size_t row = 0; row < table.rows.size(); ++row) {
      const bool first = clusters[row] == next;
      next += first;
      if (dedupe && !first) continue;
      Strings record = table.rows[row];
      record.push_back(std::to_string(clusters[row]));
      records.push_back(std::move(record));
    }
    deliver(records, options);
    Json document = {{"task", "linkage"}, {"mode", dedupe ? "dedupe" : "cluster"}, {"method", method}, {"threshold", threshold},
                     {"rows", table.rows.size()}, {"clusters", next}, {"rows_out", records.size() - 1}, {"seconds", seconds_since(start)}};
    if (options.out.empty() && options.json) document["labels"] = clusters;
    if (!options.out.empty()) document["out"] = options.out.string();
    if (!options.json) std::cout << table.rows.size() << " rows, " << next << " clusters (" << duration_text(document["seconds"]) << ")\n";
    return document;
  }
};

}  // namespace linkage_detail

const Task& linkage_task() {
  static const linkage_detail::Linkage task;
  return task;
}

}  // namespace zoo::app
