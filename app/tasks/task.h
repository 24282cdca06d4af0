// Task: what lies between files and tensors for one kind of work: examples -> batches, loss, metrics, predictions.
// The trainer, `zoo eval` and `zoo run` know tasks only through this interface; tasks know networks only through Tensors.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "app/bundle.h"
#include "models/model.h"

namespace zoo::app {

// Examples by index. get() is called from loader threads and must be thread safe; it returns a batch that holds the
// network's inputs plus "labels" (whatever the task's loss and metrics need).
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual int64_t size() const = 0;
  virtual Tensors get(std::span<const int64_t> indices, bool training, uint64_t seed) const = 0;
  // A cheap measure of an example's cost (token count), for length-sorted batches in evaluation; 0 = all alike.
  virtual int64_t length(int64_t /*index*/) const { return 0; }
  // How many examples an evaluation takes at once when nobody says.
  virtual int64_t batch_size() const { return 64; }
  // Class names by the number that "labels" use: the bundle's, or (DataOptions::training) the data's own.
  virtual std::vector<std::string> labels() const { return {}; }
  virtual std::string split() const { return {}; }  // the split that was opened; empty: the data has none
  virtual std::string describe(int64_t index) const { return std::to_string(index); }  // file name, text ... for reports
};

// Collects batches, then gives the figures. Exact over the whole set: never a mean of batch means.
class Metrics {
 public:
  virtual ~Metrics() = default;
  virtual void add(const Tensors& outputs, const Tensors& batch, std::span<const int64_t> indices) = 0;
  virtual Json result() const = 0;             // {"accuracy": 0.91, "loss": 0.25, ...}
  virtual Json details() const { return {}; }  // confusion matrix, worst mistakes ... for the report
};

struct DataOptions {
  std::string split;   // "train", "validation", "test"; empty: the data's only or natural one
  // For learning from: class names that the bundle does not know are no error (labels() tells them and the trainer fits the
  // head), and "train" means everything where the data has no splits.
  bool training = false;
  Json options = Json::object();  // task-specific: column names, max_length, augmentation ...
  int64_t limit = 0;   // only the first n examples; 0 = all
};

struct RunOptions {
  std::vector<std::string> inputs;   // files, folders, globs already expanded by the task; "-" = standard input
  std::string text;                  // --input "a sentence"
  std::filesystem::path out;         // folder or file; empty: print
  std::string format;                // text, json, csv, npy; empty: by --json or text
  Json options = Json::object();     // task-specific flags: left, right, left_on, right_on, block, top_k, threshold, truth ...
  bool json = false, overwrite = false;
  bool resume = false;               // go on with the partial file of an earlier run
  bool stream = false;               // print texts piece by piece as they are made
  int64_t batch_size = 0;            // 0: the task's default
};

// What only texts that a network writes token after token can tell: figures to add to Metrics::result(), and the texts.
struct WrittenTexts {
  Json figures = Json::object(), details;
};

class Task {
 public:
  virtual ~Task() = default;
  virtual std::string name() const = 0;
  // The head of the network that it works on, for BundleOptions::task: sentence pairs, say, need the bare encoder.
  virtual std::string head() const { return name(); }
  // False: `zoo run` reads the folder's tokenizer alone.
  virtual bool needs_network() const { return true; }
  virtual std::unique_ptr<Dataset> open(const std::filesystem::path& data, const Bundle& bundle, const DataOptions& options) const = 0;
  virtual at::Tensor loss(const Tensors& outputs, const Tensors& batch, const Json& options) const = 0;  // scalar, differentiable
  virtual std::unique_ptr<Metrics> metrics(const Bundle& bundle) const = 0;
  // The same for figures that need more of the data than its batches hold (texts); `data` outlives them.
  virtual std::unique_ptr<Metrics> metrics(const Bundle& bundle, const Dataset& /*data*/) const { return metrics(bundle); }
  virtual std::string primary_metric() const = 0;   // what chooses the checkpoint, e.g. "accuracy"
  virtual bool higher_is_better() const { return true; }
  // The names of the options that open(), loss() and write_texts() follow. Others are refused (check_options).
  virtual std::vector<std::string> option_names() const { return {}; }
  // The texts of the training data, of which a vocabulary can be made. Throws UsageError where there are none.
  virtual std::vector<std::string> training_texts(const std::filesystem::path& data, const DataOptions& options) const;
  // Before the network is built: the keys of its config that the data decides (number of series, horizon ...). They go
  // over the card's or the checkpoint's config and under the recipe's own.
  virtual Json config_for(const std::filesystem::path& /*data*/, const Entry& /*entry*/, const DataOptions& /*options*/) const {
    return Json::object();
  }
  // Once, before training: completes what will be saved beside the weights (preprocessor_config.json, say) from the opened
  // training data; the other splits are opened after it.
  virtual void prepare_training(Bundle& /*bundle*/, const Dataset& /*training*/) const {}
  // How many terms loss() is the mean of. Steps that gather several batches (accumulation, several processes) weigh each
  // by this, so that the sum is the loss of the one large batch.
  virtual double loss_terms(const Tensors& batch) const { return batch.empty() ? 0.0 : static_cast<double>(batch.begin()->second.size(0)); }
  // One forward pass from batch to what loss() and metrics read; most tasks just call the network.
  virtual Tensors forward(Model& model, const Tensors& batch) const { return model.forward(batch); }
  // In evaluations, after the forward passes over `indices`: lets the network write, when the dataset's options ask for it.
  virtual WrittenTexts write_texts(Bundle& /*bundle*/, const Dataset& /*data*/, std::span<const int64_t> /*indices*/) const { return {}; }
  // Whether `zoo run` writes its results as they are made and goes on with a partial file (row_output.h).
  virtual bool resumes() const { return false; }
  // `zoo run`: predicts and writes or prints; returns the JSON document for --json, null when that is printed already.
  virtual Json run(Bundle& bundle, const RunOptions& options) const = 0;
};

// Throws UsageError with the nearest three for unknown names.
const Task& find_task(const std::string& name);
std::vector<std::string> task_names();

// Throws UsageError for a key of `options` that the task does not know, naming the nearest.
void check_options(const Task& task, const Json& options);

// app/tasks/<name>.cpp each defines its task; the list is in registry.cpp beside them.
const Task& image_classification_task();
const Task& image_embedding_task();
const Task& text_classification_task();
const Task& token_classification_task();
const Task& fill_mask_task();
const Task& denoise_task();      // texts of two languages without pairs: an encoder-decoder restores them
const Task& question_answering_task();  // the part of a text that answers a question
const Task& similarity_task();   // pairs of sentences with a score: Spearman, Pearson; trains bi-encoders
const Task& embedding_task();    // sentences -> vectors
const Task& forecasting_task();  // time series: the next steps
const Task& seq2seq_task();      // texts in pairs: what an encoder-decoder writes for each
const Task& repair_task();       // patches for faulty programs, ranked and tried (MultiMend)
const Task& generate_task();     // how a decoder goes on after each text; language modelling
const Task& tokenize_task();     // run only: the ids, pieces and offsets of text, with no network
const Task& linkage_task();      // run only: joins two CSV files (LinkTransformer)

}  // namespace zoo::app
